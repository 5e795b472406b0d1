/** Archives as the release and the wheel are laid out, made by the system's own tools or by hand. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { deflateRawSync } from "node:zlib";

/** A gzipped tar written by `tar`. */
export async function makeTarGz(files: Record<string, string | Buffer>): Promise<Buffer> {
  const dir = await mkdtemp(join(tmpdir(), "weft-tar-"));
  try {
    for (const [name, content] of Object.entries(files)) {
      const path = join(dir, "in", name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
      await chmod(path, 0o755);
    }
    const tops = [...new Set(Object.keys(files).map((name) => name.split("/")[0] ?? name))];
    await promisify(execFile)("tar", ["-czf", join(dir, "out.tgz"), "-C", join(dir, "in"), ...tops]);
    return await readFile(join(dir, "out.tgz"));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** A zip with one deflated entry per file. `lieAboutSize` writes another size into the directory. */
export function makeZip(files: Record<string, string>, { lieAboutSize = 0 } = {}): Buffer {
  const locals: Buffer[] = [];
  const entries: Buffer[] = [];
  let offset = 0;
  for (const [name, content] of Object.entries(files)) {
    const packed = deflateRawSync(content);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(8, 8);
    local.writeUInt32LE(packed.length, 18);
    local.writeUInt32LE(content.length, 22);
    local.writeUInt16LE(name.length, 26);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(8, 10);
    entry.writeUInt32LE(packed.length, 20);
    entry.writeUInt32LE(lieAboutSize || content.length, 24);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(offset, 42);
    locals.push(local, Buffer.from(name), packed);
    entries.push(entry, Buffer.from(name));
    offset += local.length + name.length + packed.length;
  }
  const directory = Buffer.concat(entries);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Object.keys(files).length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, directory, end]);
}

export function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
