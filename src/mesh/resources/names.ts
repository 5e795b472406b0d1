/** The shapes of Kubernetes names and the derived names of children. */
import { createHash } from "node:crypto";

const LABEL_1123 = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const LABEL_1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN_1123 = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL_CHARS_MAX = 63;
const SUBDOMAIN_CHARS_MAX = 253;

/** A DNS label as namespaces have it. */
export function isDnsLabel(text: string): boolean {
  return text.length <= LABEL_CHARS_MAX && LABEL_1123.test(text);
}

/** A DNS label that begins with a letter, as traffic tags and services have it. */
export function isDnsLabel1035(text: string): boolean {
  return text.length <= LABEL_CHARS_MAX && LABEL_1035.test(text);
}

/** Labels joined by dots: the shape of most object names. */
export function isDnsSubdomain(text: string): boolean {
  return text.length <= SUBDOMAIN_CHARS_MAX && SUBDOMAIN_1123.test(text);
}

/** `parent` + `suffix`, shortened with a digest to 63 characters (sheet knative-eventing §1.4). */
export function childName(parent: string, suffix: string): string {
  if (parent.length + suffix.length <= LABEL_CHARS_MAX) return parent + suffix;
  const digest = (text: string) => createHash("md5").update(text).digest("hex");
  const headChars = LABEL_CHARS_MAX - digest("").length;
  if (suffix.length < headChars) {
    return parent.slice(0, headChars - suffix.length) + digest(parent) + suffix;
  }
  const name = parent.slice(0, headChars) + digest(parent + suffix);
  return (name + suffix).slice(0, LABEL_CHARS_MAX).replace(/[^a-z0-9]+$/i, "");
}
