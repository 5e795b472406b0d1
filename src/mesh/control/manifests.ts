/**
 * Manifests as text: several YAML documents a file, each judged on its own, so that one bad document is named by
 * file, line, field and reason and the others still apply. Pure; reading files is manifest-files.ts.
 */
import { type Document, isNode, LineCounter, parseAllDocuments } from "yaml";
import { z } from "zod";
import { defaultObject, validateObject } from "../resources/admission.ts";
import { formatFieldErrors } from "../resources/field-error.ts";
import type { CheckCesql } from "../resources/filters.ts";
import { authoredKinds, findKind } from "../resources/kinds.ts";
import { apiVersionOf, type KindId, type KubeObject } from "../resources/meta.ts";

/** One object as its file declares it: namespace filled in, nothing defaulted. */
export interface ManifestDocument {
  readonly file: string;
  readonly line: number;
  readonly kind: KindId;
  readonly object: KubeObject;
}

/** A document that does not apply, and where to look. */
export interface RejectedDocument {
  readonly file: string;
  readonly line: number;
  /** Empty when the document does not get far enough to have one. */
  readonly kind: string;
  readonly name: string;
  readonly message: string;
}

export interface ParsedManifest {
  readonly documents: readonly ManifestDocument[];
  readonly rejected: readonly RejectedDocument[];
}

export interface ManifestText {
  readonly file: string;
  readonly text: string;
}

const DEFAULT_NAMESPACE = "default";

const headSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});

const listSchema = z.looseObject({
  apiVersion: z.literal("v1"),
  kind: z.literal("List"),
  items: z.array(z.unknown()),
});

/** Where in its file a value is, for the messages. */
interface Place {
  readonly file: string;
  readonly lineOf: (path: readonly (string | number)[]) => number;
}

export function parseManifest({ file, text }: ManifestText, checkCesql?: CheckCesql): ParsedManifest {
  const lines = new LineCounter();
  const results: (ManifestDocument | RejectedDocument)[] = [];
  for (const document of parseAllDocuments(text, { lineCounter: lines })) {
    const [fault] = document.errors;
    if (fault !== undefined) {
      const line = fault.linePos?.[0].line ?? lines.linePos(fault.pos[0]).line;
      const [message = ""] = fault.message.split("\n");
      results.push({ file, line, kind: "", name: "", message: `not valid YAML: ${message}` });
      continue;
    }
    const value: unknown = document.toJS();
    // An empty document (a trailing `---`, only comments) declares nothing.
    if (value === null || value === undefined) continue;
    const lineOf = lineFinder(document, lines);
    const list = listSchema.safeParse(value);
    if (!list.success) results.push(judge(value, { file, lineOf }, checkCesql));
    else {
      list.data.items.forEach((item, index) => {
        const lineOfItem = (path: readonly (string | number)[]) => lineOf(["items", index, ...path]);
        results.push(judge(item, { file, lineOf: lineOfItem }, checkCesql));
      });
    }
  }
  return {
    documents: results.filter((result) => "object" in result),
    rejected: results.filter((result) => "message" in result),
  };
}

function judge(value: unknown, { file, lineOf }: Place, checkCesql: CheckCesql | undefined) {
  const head = headSchema.safeParse(value);
  if (!head.success) {
    const { kind = "", name = "" } = guessHead(value);
    const message = "not a resource: apiVersion, kind and metadata.name are needed";
    return { file, line: lineOf([]), kind, name, message };
  }
  const { apiVersion, kind, metadata } = head.data;
  const id = findKind(apiVersion, kind);
  if (id === undefined || !authoredKinds.includes(id)) {
    const message = explainKind(apiVersion, kind);
    return { file, line: lineOf(["kind"]), kind, name: metadata.name, message };
  }
  const object: KubeObject = {
    ...head.data,
    metadata: { ...metadata, namespace: metadata.namespace ?? DEFAULT_NAMESPACE },
  };
  const faults = validateObject(id, defaultObject(id, object), { checkCesql });
  const [first] = faults;
  if (first === undefined) return { file, line: lineOf([]), kind: id, object };
  return {
    file,
    line: lineOf(parsePath(first.field)),
    kind,
    name: metadata.name,
    message: formatFieldErrors(faults),
  };
}

function guessHead(value: unknown): { kind?: string; name?: string } {
  const guess = z
    .looseObject({
      kind: z.string().catch(""),
      metadata: z.looseObject({ name: z.string().catch("") }).catch({ name: "" }),
    })
    .safeParse(value);
  return guess.success ? { kind: guess.data.kind, name: guess.data.metadata.name } : {};
}

function explainKind(apiVersion: string, kind: string): string {
  const known = authoredKinds.map((id) => `${id.kind} (${apiVersionOf(id)})`).join(", ");
  return `weft has no kind ${kind} (${apiVersion}); it knows ${known}`;
}

/** The line of the deepest part of a path that the document has. */
function lineFinder(document: Document, lines: LineCounter) {
  return (path: readonly (string | number)[]): number => {
    for (let depth = path.length; depth >= 0; depth--) {
      const node = depth === 0 ? document.contents : document.getIn(path.slice(0, depth), true);
      if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
    }
    return 1;
  };
}

/** `spec.filters[0].exact[type]` as the steps to walk. */
function parsePath(field: string): (string | number)[] {
  return [...field.matchAll(/\[([^\]]*)\]|([^.[\]]+)/g)].map(([, bracketed, plain]) => {
    const step = bracketed ?? plain ?? "";
    return bracketed !== undefined && /^\d+$/.test(bracketed) ? Number(bracketed) : step;
  });
}
