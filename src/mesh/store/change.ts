/**
 * What a write does to an object, decided without doing it: the Kubernetes rules of metadata, generation,
 * conflicts and finalizers (sheet kubernetes-api-for-kn §6.1, §6.2). Pure; the resourceVersion is the
 * persistence's to give.
 */
import { MeshError } from "../errors.ts";
import { sameJson } from "../resources/json.ts";
import {
  apiVersionOf,
  type KindId,
  type KubeObject,
  type ObjectMeta,
  type StoredObject,
} from "../resources/meta.ts";

/** An object that is about to be stored: everything but its new resourceVersion is settled. */
export type Change =
  | { readonly kind: "unchanged"; readonly object: StoredObject }
  | { readonly kind: "put"; readonly object: StoredObject }
  | { readonly kind: "remove"; readonly object: StoredObject };

export interface Preconditions {
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
}

export function createdObject(
  kind: KindId,
  submitted: KubeObject,
  { uid, now }: { uid: string; now: string },
): StoredObject {
  const { status: _dropped, ...rest } = submitted;
  return {
    ...rest,
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    metadata: {
      ...clientMetadata(submitted.metadata),
      uid,
      resourceVersion: "0",
      generation: 1,
      creationTimestamp: now,
    },
  };
}

/** Replaces all but status. */
export function changeObject(kind: KindId, old: StoredObject, submitted: KubeObject): Change {
  checkPreconditions(kind, old, submitted.metadata);
  checkFinalizers(old, submitted.metadata.finalizers ?? []);
  const { status: _ignored, ...rest } = submitted;
  const next: StoredObject = {
    ...rest,
    apiVersion: old.apiVersion,
    kind: old.kind,
    metadata: { ...clientMetadata(submitted.metadata), ...serverMetadata(old.metadata) },
    ...(old.status === undefined ? {} : { status: old.status }),
  };
  if (isDeleting(old) && !hasFinalizers(next)) return { kind: "remove", object: next };
  if (sameJson(next, old)) return { kind: "unchanged", object: old };
  return { kind: "put", object: sameJson(contentOf(next), contentOf(old)) ? next : nextGeneration(next) };
}

/** Replaces only status. */
export function changeStatus(kind: KindId, old: StoredObject, submitted: KubeObject): Change {
  checkPreconditions(kind, old, submitted.metadata);
  if (sameJson(submitted.status, old.status)) return { kind: "unchanged", object: old };
  const { status: _replaced, ...rest } = old;
  const next = submitted.status === undefined ? rest : { ...rest, status: submitted.status };
  return { kind: "put", object: next };
}

/** Removes, or marks as deleting while finalizers remain. */
export function changeToDeleted(
  kind: KindId,
  old: StoredObject,
  { now, preconditions }: { now: string; preconditions: Preconditions },
): Change {
  checkPreconditions(kind, old, preconditions);
  if (!hasFinalizers(old)) return { kind: "remove", object: old };
  if (isDeleting(old)) return { kind: "unchanged", object: old };
  const metadata = { ...old.metadata, deletionTimestamp: now, deletionGracePeriodSeconds: 0 };
  return { kind: "put", object: nextGeneration({ ...old, metadata }) };
}

/** The same object under another resourceVersion. */
export function atVersion(object: StoredObject, resourceVersion: string): StoredObject {
  return { ...object, metadata: { ...object.metadata, resourceVersion } };
}

export function notFound(kind: KindId, name: string): MeshError {
  return new MeshError("NOT_FOUND", { found: `no ${kind.kind} "${name}"` });
}

export function alreadyExists(kind: KindId, name: string): MeshError {
  return new MeshError("ALREADY_EXISTS", { field: `${kind.kind} "${name}"` });
}

export function versionConflict(kind: KindId, old: StoredObject, submitted: string | undefined): MeshError {
  return new MeshError("CONFLICT", {
    field: `${kind.kind} "${old.metadata.name}"`,
    expected: `resourceVersion ${old.metadata.resourceVersion}`,
    ...(submitted === undefined ? {} : { found: submitted }),
    fix: "Apply the change to the latest version and try again",
  });
}

function checkPreconditions(kind: KindId, old: StoredObject, { uid, resourceVersion }: Preconditions): void {
  if (uid !== undefined && uid !== old.metadata.uid) {
    throw new MeshError("CONFLICT", {
      field: `${kind.kind} "${old.metadata.name}"`,
      expected: `UID ${old.metadata.uid}`,
      found: uid,
      fix: "The object was deleted and made again; read it anew",
    });
  }
  if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion) {
    throw versionConflict(kind, old, resourceVersion);
  }
}

function checkFinalizers(old: StoredObject, finalizers: readonly string[]): void {
  const added = finalizers.filter((each) => !old.metadata.finalizers?.includes(each));
  if (!isDeleting(old) || added.length === 0) return;
  throw new MeshError("OBJECT_INVALID", {
    field: "metadata.finalizers",
    expected: "no new finalizers once the object is being deleted",
    found: added.join(", "),
  });
}

/** What the client may set: the rest of the metadata is the server's. */
function clientMetadata(metadata: ObjectMeta): ObjectMeta {
  const {
    uid: _uid,
    resourceVersion: _resourceVersion,
    generation: _generation,
    creationTimestamp: _creationTimestamp,
    deletionTimestamp: _deletionTimestamp,
    deletionGracePeriodSeconds: _deletionGracePeriodSeconds,
    ...client
  } = metadata;
  return client;
}

function serverMetadata(metadata: StoredObject["metadata"]) {
  const { uid, resourceVersion, generation, creationTimestamp, deletionTimestamp } = metadata;
  const deleting =
    deletionTimestamp === undefined
      ? {}
      : { deletionTimestamp, deletionGracePeriodSeconds: metadata.deletionGracePeriodSeconds };
  return { uid, resourceVersion, generation, creationTimestamp, ...deleting };
}

/** What counts for the generation: everything outside metadata and status. */
function contentOf(object: KubeObject): unknown {
  const { metadata: _metadata, status: _status, ...content } = object;
  return content;
}

function nextGeneration(object: StoredObject): StoredObject {
  return { ...object, metadata: { ...object.metadata, generation: object.metadata.generation + 1 } };
}

function isDeleting(object: StoredObject): boolean {
  return object.metadata.deletionTimestamp !== undefined;
}

function hasFinalizers(object: KubeObject): boolean {
  return (object.metadata.finalizers ?? []).length > 0;
}
