import { HalftoneError } from '@halftone/tensor';
import type { Json } from './token-list.js';

export interface SpecialToken {
  readonly id: number;
  readonly text: string;
}

/** Ids that are put before and after a text. */
export interface SurroundingTokens {
  readonly before?: number;
  readonly after?: number;
}

/**
 * What a post-processor puts around a single text; undefined when it has no say.
 * Throws `UNSUPPORTED` for more than one token on a side, which GGUF cannot say.
 */
export function surroundingTokens(processor: Json | null | undefined): SurroundingTokens | undefined {
  if (processor?.type === 'Sequence') {
    return (processor.processors as Json[]).map(surroundingTokens).find((found) => found !== undefined);
  }
  if (processor?.type === 'BertProcessing' || processor?.type === 'RobertaProcessing') {
    const [, before] = processor.cls as [string, number];
    const [, after] = processor.sep as [string, number];
    return { before, after };
  }
  if (processor?.type !== 'TemplateProcessing') return undefined;
  const pieces = processor.single as Json[];
  const text = pieces.findIndex((piece) => 'Sequence' in piece);
  const special = processor.special_tokens as Readonly<Record<string, { readonly ids: readonly number[] }>>;
  const idsOf = (part: readonly Json[]) =>
    part.flatMap((piece) => {
      const name = (piece.SpecialToken as Json | undefined)?.id;
      return typeof name === 'string' && Object.hasOwn(special, name) ? (special[name]?.ids ?? []) : [];
    });
  const before = idsOf(pieces.slice(0, text));
  const after = idsOf(pieces.slice(text + 1));
  if (before.length > 1 || after.length > 1) {
    throw new HalftoneError(
      'UNSUPPORTED',
      `tokenizer.json: its template puts ${before.length} tokens before a text and ${after.length} after it; GGUF has one each`,
      { where: 'tokenizer', details: { before, after } },
    );
  }
  return { before: before[0], after: after[0] };
}

/** A post-processor that puts special tokens around the text, or null for none. */
export function templateProcessor(before: SpecialToken | undefined, after: SpecialToken | undefined): object | null {
  if (!before && !after) return null;
  const piece = ({ text }: SpecialToken, type: number) => ({ SpecialToken: { id: text, type_id: type } });
  const around = (sequence: 'A' | 'B', type: number) => [
    ...(before ? [piece(before, type)] : []),
    { Sequence: { id: sequence, type_id: type } },
    ...(after ? [piece(after, type)] : []),
  ];
  const used = [before, after].filter((token) => token !== undefined);
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(used.map(({ id, text }) => [text, { id: text, ids: [id], tokens: [text] }])),
  };
}
