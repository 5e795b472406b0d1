/**
 * Brings documents into the Store as `kubectl apply` would: spec, labels and annotations as the file says; what
 * the server set, and labels and annotations of others, stay.
 *
 * A1  what was applied is remembered on the object (annotation `weft.dev/applied`): a document that is unchanged
 *     since then is not applied again, so an edit made through the API survives a restart.
 * A2  a label or annotation that a document no longer names is removed if the document had set it.
 * A3  one document's failure never keeps another from being applied.
 */
import { z } from "zod";
import { MeshError, messageOf } from "../errors.ts";
import { admitObject } from "../resources/admission.ts";
import { APPLIED, BUNDLE, MANIFEST } from "../resources/annotations.ts";
import type { CheckCesql } from "../resources/filters.ts";
import { digestJson } from "../resources/json.ts";
import { BROKER, isSameKind, SERVICE, TRIGGER } from "../resources/kinds.ts";
import type { KindId, KubeObject, StoredObject } from "../resources/meta.ts";
import { serviceSchema } from "../resources/service.ts";
import { keyOf } from "../store/resource-cache.ts";
import type { Store } from "../store/store.ts";
import type { ManifestDocument, RejectedDocument } from "./manifests.ts";

/** A document is decided anew this often because the object changed meanwhile. */
const APPLY_ATTEMPTS_MAX = 5;

export type ApplyResult =
  | { readonly document: ManifestDocument; readonly outcome: "created" | "configured" | "unchanged" }
  | {
      readonly document: ManifestDocument;
      readonly outcome: "rejected";
      readonly rejected: RejectedDocument;
    };

export interface ApplyOptions {
  readonly checkCesql?: CheckCesql | undefined;
  /**
   * The documents are files that are kept in step (A1). Without it this is one person's `apply`: it always counts,
   * and an object that follows a file goes on following it.
   */
  readonly followsFile?: boolean;
}

/** Brokers before services before triggers: not needed, but it saves a pass. Results in the order given. */
const ORDER = [BROKER, SERVICE, TRIGGER];

export async function applyDocuments(
  store: Store,
  documents: readonly ManifestDocument[],
  options: ApplyOptions = {},
): Promise<ApplyResult[]> {
  const results = new Map<ManifestDocument, ApplyResult>();
  for (const document of documents.toSorted((a, b) => orderOf(a.kind) - orderOf(b.kind))) {
    try {
      results.set(document, { document, outcome: await applyDocument(store, document, options) });
    } catch (error) {
      results.set(document, { document, outcome: "rejected", rejected: rejectionOf(document, error) });
    }
  }
  return documents.flatMap((document) => results.get(document) ?? []);
}

async function applyDocument(
  store: Store,
  { file, kind, object }: ManifestDocument,
  options: ApplyOptions,
): Promise<"created" | "configured" | "unchanged"> {
  const applied = memoryOf(object);
  for (let attempt = 1; ; attempt++) {
    const old = store.get(kind, keyOf(object));
    const mark = markFor(old, { file, applied, options });
    try {
      if (old === undefined) {
        await store.create(kind, admitObject(kind, annotate(object, mark), options));
        return "created";
      }
      const before = readMemory(old);
      const owner = old.metadata.annotations?.[MANIFEST];
      const isApplied = options.followsFile === true && owner !== undefined && before?.hash === applied.hash;
      if (isApplied && owner === file) return "unchanged";
      const merged = isApplied ? old : merge(kind, { old, object, before });
      const next = admitObject(kind, annotate(merged, mark), { ...options, old });
      const written = await store.update(kind, withVersion(next, old));
      const isSame = written.metadata.resourceVersion === old.metadata.resourceVersion;
      return isApplied || isSame ? "unchanged" : "configured";
    } catch (error) {
      if (attempt < APPLY_ATTEMPTS_MAX && isRace(error)) continue;
      throw error;
    }
  }
}

/** The annotations that remember this application; a file's own memory is left to the file. */
function markFor(
  old: StoredObject | undefined,
  { file, applied, options }: { file: string; applied: Memory; options: ApplyOptions },
): Record<string, string> {
  if (options.followsFile) return { [MANIFEST]: file, [APPLIED]: JSON.stringify(applied) };
  return old?.metadata.annotations?.[MANIFEST] === undefined ? { [APPLIED]: JSON.stringify(applied) } : {};
}

/** What of a document is remembered: a digest of all, and the names it set (A2). */
interface Memory {
  readonly hash: string;
  readonly labels: readonly string[];
  readonly annotations: readonly string[];
}

const memorySchema = z.object({
  hash: z.string(),
  labels: z.array(z.string()),
  annotations: z.array(z.string()),
});

function memoryOf(object: KubeObject): Memory {
  const { labels, annotations } = object.metadata;
  return {
    hash: digestJson(object).slice(0, 16),
    labels: Object.keys(labels ?? {}).sort(),
    annotations: Object.keys(annotations ?? {}).sort(),
  };
}

function readMemory(object: StoredObject): Memory | undefined {
  try {
    return memorySchema.parse(JSON.parse(object.metadata.annotations?.[APPLIED] ?? ""));
  } catch {
    return undefined;
  }
}

function annotate(object: KubeObject, more: Readonly<Record<string, string>>): KubeObject {
  const annotations = { ...object.metadata.annotations, ...more };
  return { ...object, metadata: { ...object.metadata, annotations } };
}

function merge(
  kind: KindId,
  { old, object, before }: { old: StoredObject; object: KubeObject; before: Memory | undefined },
): KubeObject {
  const { labels, annotations, ...metadata } = old.metadata;
  return {
    ...old,
    metadata: {
      ...metadata,
      ...present("labels", { ...without(labels, before?.labels), ...object.metadata.labels }),
      ...present("annotations", {
        ...without(annotations, before?.annotations),
        ...object.metadata.annotations,
      }),
    },
    spec: isSameKind(kind, SERVICE) ? keepCode(object, old) : object.spec,
  };
}

/** An empty map is left out: it must not look like a change. */
function present(field: "labels" | "annotations", values: Readonly<Record<string, string>>): object {
  return Object.keys(values).length === 0 ? {} : { [field]: values };
}

function without(
  values: Readonly<Record<string, string>> | undefined,
  names: readonly string[] = [],
): Record<string, string> {
  return Object.fromEntries(Object.entries(values ?? {}).filter(([name]) => !names.includes(name)));
}

/** The code of a function comes from its source, not from the manifest that says more about it. */
function keepCode(object: KubeObject, old: StoredObject): unknown {
  const { spec } = serviceSchema.parse(object);
  const bundle = serviceSchema.parse(old).spec.template?.metadata?.annotations?.[BUNDLE];
  if (bundle === undefined) return spec;
  const { metadata, ...template } = spec.template ?? {};
  const annotations = { [BUNDLE]: bundle, ...metadata?.annotations };
  return { ...spec, template: { ...template, metadata: { ...metadata, annotations } } };
}

function withVersion(object: KubeObject, { metadata }: StoredObject): KubeObject {
  const { uid, resourceVersion } = metadata;
  return { ...object, metadata: { ...object.metadata, uid, resourceVersion } };
}

function isRace(error: unknown): boolean {
  return error instanceof MeshError && ["CONFLICT", "ALREADY_EXISTS", "NOT_FOUND"].includes(error.code);
}

function rejectionOf({ file, line, kind, object }: ManifestDocument, error: unknown): RejectedDocument {
  const refused = error instanceof MeshError ? (error.detail.found ?? error.message) : messageOf(error);
  return { file, line, kind: kind.kind, name: object.metadata.name, message: refused };
}

function orderOf(kind: KindId): number {
  return ORDER.findIndex((each) => isSameKind(each, kind));
}
