/**
 * Where events may be sent to: a reference, a URI, or a reference plus a relative URI (sheet knative-eventing §9).
 * Turning one into an address is control/resolve.ts.
 */
import { X509Certificate } from "node:crypto";
import { z } from "zod";
import { type FieldError, forbiddenField, invalidValue, missingField } from "./field-error.ts";

export const referenceSchema = z.strictObject({
  kind: z.string().optional(),
  namespace: z.string().optional(),
  name: z.string().optional(),
  apiVersion: z.string().optional(),
  group: z.string().optional(),
  address: z.string().optional(),
});

export const destinationSchema = z.strictObject({
  ref: referenceSchema.optional(),
  uri: z.string().optional(),
  CACerts: z.string().optional(),
  audience: z.string().optional(),
});

export type Reference = z.output<typeof referenceSchema>;
export type Destination = z.output<typeof destinationSchema>;

const REF_PARTS = "[apiVersion, kind, name]";

export function validateReference(reference: Reference, path: string): FieldError[] {
  const found = (["name", "kind", "apiVersion"] as const)
    .filter((part) => !reference[part])
    .map((part) => missingField(`${path}.${part}`));
  if (reference.group !== undefined) found.push(forbiddenField(`${path}.group`));
  return found;
}

export function validateDestination(destination: Destination, path: string): FieldError[] {
  const { ref, uri } = destination;
  if (ref === undefined && uri === undefined) {
    const message = "expected at least one, got none";
    return [`${path}.ref`, `${path}.uri`].map((field) => ({ field, message }));
  }
  if (uri === undefined) return validateReference(ref ?? {}, `${path}.ref`);
  return [...validateUri(uri, ref !== undefined, path), ...validateCertificates(destination.CACerts, path)];
}

function validateUri(uri: string, hasRef: boolean, path: string): FieldError[] {
  const absolute = URL.canParse(uri);
  if (hasRef && absolute) {
    const message = `Absolute URI is not allowed when Ref or ${REF_PARTS} is present`;
    return [REF_PARTS, "ref", "uri"].map((part) => ({ field: `${path}.${part}`, message }));
  }
  if (hasRef) return [];
  if (absolute && new URL(uri).host !== "") return [];
  return [
    invalidValue(`${path}.uri`, `Relative URI is not allowed when Ref and ${REF_PARTS} is absent`, uri),
  ];
}

function validateCertificates(certificates: string | undefined, path: string): FieldError[] {
  if (certificates === undefined) return [];
  try {
    new X509Certificate(certificates);
    return [];
  } catch {
    return [invalidValue(`${path}.caCert`, "CA Cert provided is invalid")];
  }
}

/** The destination with its reference placed in `namespace` unless it names one. */
export function defaultDestination(destination: Destination, namespace: string | undefined): Destination {
  const { ref } = destination;
  if (ref === undefined || ref.namespace || namespace === undefined) return destination;
  return { ...destination, ref: { ...ref, namespace } };
}
