import { crc32, deflateRawSync } from 'node:zlib';

export interface ZipFileMember {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly deflate?: boolean;
  /** Sizes in zip64 extra fields: of the local header as numpy writes them, or of the directory as large files have them. */
  readonly zip64?: 'local' | 'directory';
  /** Fields of the directory to set to something else. */
  readonly claim?: {
    readonly size?: number;
    readonly method?: number;
    readonly offset?: number;
    readonly flags?: number;
  };
}

/** A zip archive, field by field. Source: PKWARE's APPNOTE. */
export function zipFile(members: readonly ZipFileMember[]): Uint8Array<ArrayBuffer> {
  const out: number[] = [];
  const directory: number[] = [];
  const put = (to: number[], ...fields: (readonly [value: number, bytes: number])[]) => {
    for (const [value, bytes] of fields) {
      for (let i = 0; i < bytes; i++) to.push(Math.floor(value / 256 ** i) % 256);
    }
  };
  for (const { name, bytes, deflate, zip64, claim } of members) {
    const data = deflate ? deflateRawSync(bytes) : bytes;
    const method = claim?.method ?? (deflate ? 8 : 0);
    const sizes = (wide: boolean) =>
      [
        [wide ? 2 ** 32 - 1 : data.length, 4],
        [wide ? 2 ** 32 - 1 : (claim?.size ?? bytes.length), 4],
      ] as const;
    const extra: number[] = [];
    put(extra, [1, 2], [16, 2], [claim?.size ?? bytes.length, 8], [data.length, 8]);
    const start = out.length;
    const common = [
      [45, 2],
      [claim?.flags ?? 0, 2],
      [method, 2],
      [0, 2],
      [33, 2],
      [crc32(bytes), 4],
    ] as const;
    const local = zip64 === 'local';
    put(out, [0x04034b50, 4], ...common, ...sizes(local), [name.length, 2], [local ? extra.length : 0, 2]);
    out.push(...Buffer.from(name), ...(local ? extra : []));
    for (const byte of data) out.push(byte);
    const wide = zip64 === 'directory';
    put(directory, [0x02014b50, 4], [45, 2], ...common, ...sizes(wide), [name.length, 2], [wide ? extra.length : 0, 2]);
    put(directory, [0, 2], [0, 2], [0, 2], [0, 4], [claim?.offset ?? start, 4]);
    directory.push(...Buffer.from(name), ...(wide ? extra : []));
  }
  const end = out.length;
  for (const byte of directory) out.push(byte);
  put(out, [0x06054b50, 4], [0, 4], [members.length, 2], [members.length, 2], [directory.length, 4], [end, 4], [0, 2]);
  return Uint8Array.from(out);
}

/** An array file from the text of its dictionary, padded as numpy does, and its data. */
export function npyFile(
  dictionary: string,
  data: Uint8Array | readonly number[] = [],
  version = 1,
): Uint8Array<ArrayBuffer> {
  const lengthBytes = version === 1 ? 2 : 4;
  const text = Buffer.from(dictionary, version === 3 ? 'utf8' : 'latin1');
  const length = Math.ceil((8 + lengthBytes + text.length + 1) / 64) * 64 - 8 - lengthBytes;
  const lengthField = Array.from({ length: lengthBytes }, (_, i) => Math.floor(length / 256 ** i) % 256);
  const padding = new Array<number>(length - text.length - 1).fill(0x20);
  return Uint8Array.from([
    0x93,
    ...Buffer.from('NUMPY'),
    version,
    0,
    ...lengthField,
    ...text,
    ...padding,
    0x0a,
    ...data,
  ]);
}
