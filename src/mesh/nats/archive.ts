/**
 * Takes ONE file out of a downloaded archive: a gzipped tar (the official release) or a zip (a wheel).
 *
 * A1  nothing is written to disk and no name of the archive is used as a path: the caller gets bytes.
 * A2  neither the unpacked archive nor the file may exceed `bytesMax`; a lying size field is an error.
 */
import { gunzipSync, inflateRawSync } from "node:zlib";

const TAR_BLOCK = 512;
const ZIP_END = 0x06054b50;
const ZIP_ENTRY = 0x02014b50;
const ZIP_LOCAL = 0x04034b50;
const ZIP_END_BYTES = 22;
const ZIP_COMMENT_BYTES_MAX = 0xffff;
const STORED = 0;
const DEFLATED = 8;

export interface Extraction {
  /** The exact name of the wanted file inside the archive. */
  readonly entry: string;
  /** Bound for everything that is unpacked. */
  readonly bytesMax: number;
}

/** Throws when the archive is broken, too large, or lacks the entry. */
export function extractTarGz(archive: Uint8Array, { entry, bytesMax }: Extraction): Buffer {
  const tar = gunzipSync(archive, { maxOutputLength: bytesMax });
  for (let offset = 0; offset + TAR_BLOCK <= tar.length; ) {
    const header = tar.subarray(offset, offset + TAR_BLOCK);
    if (header[0] === 0) break;
    const size = Number.parseInt(tarField(header, 124, 12), 8);
    if (!Number.isSafeInteger(size) || size < 0) throw new Error("the tar archive has a broken size field");
    const start = offset + TAR_BLOCK;
    if (tarName(header) === entry && isPlainFile(header)) {
      if (start + size > tar.length) throw new Error("the tar archive ends early");
      return tar.subarray(start, start + size);
    }
    offset = start + Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
  }
  throw new Error(`the tar archive holds no ${entry}`);
}

function tarName(header: Buffer): string {
  const prefix = tarField(header, 257, 6).startsWith("ustar") ? tarField(header, 345, 155) : "";
  const name = tarField(header, 0, 100);
  return prefix === "" ? name : `${prefix}/${name}`;
}

function isPlainFile(header: Buffer): boolean {
  const type = header[156];
  return type === 0 || type === "0".charCodeAt(0);
}

function tarField(header: Buffer, start: number, length: number): string {
  const field = header.subarray(start, start + length);
  const end = field.indexOf(0);
  return field
    .subarray(0, end === -1 ? length : end)
    .toString("latin1")
    .trim();
}

/** Throws when the archive is broken, too large, or lacks the entry. Zip64 and encryption are not read. */
export function extractZip(archive: Uint8Array, { entry, bytesMax }: Extraction): Buffer {
  const zip = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength);
  const end = endOfDirectory(zip);
  let offset = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    if (offset + 46 > zip.length || zip.readUInt32LE(offset) !== ZIP_ENTRY) {
      throw new Error("the zip archive has a broken directory");
    }
    const nameBytes = zip.readUInt16LE(offset + 28);
    const name = zip.toString("utf8", offset + 46, offset + 46 + nameBytes);
    if (name === entry) return unzipEntry(zip, offset, bytesMax);
    offset += 46 + nameBytes + zip.readUInt16LE(offset + 30) + zip.readUInt16LE(offset + 32);
  }
  throw new Error(`the zip archive holds no ${entry}`);
}

function endOfDirectory(zip: Buffer): number {
  const first = Math.max(0, zip.length - ZIP_END_BYTES - ZIP_COMMENT_BYTES_MAX);
  for (let offset = zip.length - ZIP_END_BYTES; offset >= first; offset--) {
    if (zip.readUInt32LE(offset) === ZIP_END) return offset;
  }
  throw new Error("the file is no zip archive, or it ends early");
}

function unzipEntry(zip: Buffer, directoryOffset: number, bytesMax: number): Buffer {
  const method = zip.readUInt16LE(directoryOffset + 10);
  const packedBytes = zip.readUInt32LE(directoryOffset + 20);
  const bytes = zip.readUInt32LE(directoryOffset + 24);
  const local = zip.readUInt32LE(directoryOffset + 42);
  if (bytes > bytesMax) throw new Error(`the file in the zip archive is larger than ${bytesMax} bytes`);
  if (local + 30 > zip.length || zip.readUInt32LE(local) !== ZIP_LOCAL) {
    throw new Error("the zip archive has a broken entry");
  }
  const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
  const packed = zip.subarray(start, start + packedBytes);
  const content = unpack(packed, method, bytesMax);
  if (content.length !== bytes) throw new Error("the zip archive has a broken size field");
  return content;
}

function unpack(packed: Buffer, method: number, bytesMax: number): Buffer {
  if (method === STORED) return packed;
  if (method === DEFLATED) return inflateRawSync(packed, { maxOutputLength: bytesMax });
  throw new Error(`the zip archive uses compression method ${method}`);
}
