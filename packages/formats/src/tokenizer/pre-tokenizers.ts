import { HalftoneError } from '@halftone/tensor';

type Json = Readonly<Record<string, unknown>>;

const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SYMBOLS_AND_SPACE = '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const O200K_WORDS = (upper: string, lower: string) =>
  `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${CONTRACTIONS}?|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${CONTRACTIONS}?`;
const DEEPSEEK_V3_WORDS =
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const LLAMA3_PATTERN = `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}${SYMBOLS_AND_SPACE}`;
const UPPER = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
const LOWER = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';

/** How a byte-level tokenizer cuts text before merging. */
interface Family {
  /** Canonical value of `tokenizer.ggml.pre`. */
  readonly pre: string;
  readonly aliases: readonly string[];
  /** Applied one after the other; each cuts the pieces that the ones before left. */
  readonly patterns: readonly string[];
  /** A piece that is a whole token is taken as it is, whatever the merges say. */
  readonly ignoreMerges: boolean;
  /** llama.cpp puts a BOS in front where the file does not say. */
  readonly addBos: boolean;
}

/** Source of patterns and aliases: llama.cpp, llama-vocab.cpp. */
const FAMILIES: readonly Family[] = [
  {
    pre: 'gpt-2',
    aliases: ['mpt', 'olmo', 'phi-2', 'jina-es', 'jina-de', 'gigachat', 'roberta-bpe'],
    patterns: [GPT2_PATTERN],
    ignoreMerges: false,
    addBos: false,
  },
  {
    pre: 'smollm',
    aliases: ['starcoder', 'refact', 'command-r', 'codeshell'],
    patterns: ['\\p{N}', GPT2_PATTERN],
    ignoreMerges: false,
    addBos: false,
  },
  {
    pre: 'llama-bpe',
    aliases: ['llama3', 'llama-v3', 'falcon3', 'pixtral'],
    patterns: [LLAMA3_PATTERN],
    ignoreMerges: true,
    addBos: true,
  },
  {
    pre: 'qwen2',
    aliases: ['deepseek-r1-qwen', 'stablelm2'],
    patterns: [`${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${SYMBOLS_AND_SPACE}`],
    ignoreMerges: false,
    addBos: false,
  },
  {
    pre: 'tekken',
    aliases: [],
    patterns: [
      `[^\\r\\n\\p{L}\\p{N}]?${UPPER}*${LOWER}+|[^\\r\\n\\p{L}\\p{N}]?${UPPER}+${LOWER}*|\\p{N}` +
        SYMBOLS_AND_SPACE.replace('[\\r\\n]*', '[\\r\\n/]*'),
    ],
    ignoreMerges: true,
    addBos: true,
  },
  {
    pre: 'dbrx',
    aliases: ['smaug-bpe', 'glm4', 'chatglm-bpe'],
    patterns: [LLAMA3_PATTERN],
    ignoreMerges: false,
    addBos: false,
  },
  {
    pre: 'qwen35',
    aliases: [],
    patterns: [
      `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
    ],
    ignoreMerges: false,
    addBos: false,
  },
  {
    pre: 'gpt-4o',
    aliases: ['llama4', 'kanana2'],
    patterns: [`${O200K_WORDS(UPPER, LOWER)}|\\p{N}{1,3}${SYMBOLS_AND_SPACE.replace('[\\r\\n]*', '[\\r\\n/]*')}`],
    ignoreMerges: false,
    addBos: false,
  },
  {
    pre: 'deepseek-coder',
    aliases: [],
    patterns: ['[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', '[一-龥ࠀ-一가-퟿]+', '\\p{N}'],
    ignoreMerges: false,
    addBos: false,
  },
  {
    pre: 'deepseek-v3',
    aliases: ['hunyuan-dense', 'joyai-llm'],
    patterns: ['\\p{N}{1,3}', '[一-龥\u3040-ゟ゠-ヿ]+', DEEPSEEK_V3_WORDS],
    ignoreMerges: false,
    addBos: false,
  },
  {
    pre: 'default',
    aliases: [],
    patterns: ['[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2_PATTERN, '\\p{N}+', '[0-9][0-9][0-9]'],
    ignoreMerges: false,
    addBos: false,
  },
];

/**
 * The value of `tokenizer.ggml.pre` for a byte-level `tokenizer.json`, found by how it cuts text and, where two names cut
 * alike, by `ignoreMerges`. Throws `UNSUPPORTED` when the way it splits text is none of llama.cpp's that are known here.
 */
export function detectPreTokenizer(preTokenizer: Json | null | undefined, ignoreMerges: boolean): string {
  const patterns = splitPatterns(preTokenizer);
  const families = patterns ? FAMILIES.filter((known) => sameList(known.patterns, patterns)) : [];
  const family = families.find((known) => known.ignoreMerges === ignoreMerges) ?? families[0];
  if (family) return family.pre;
  throw new HalftoneError(
    'UNSUPPORTED',
    'tokenizer.json: its pre_tokenizer is none of the known ones; pass `pre` with the name that llama.cpp has for it',
    { where: 'tokenizer', details: { preTokenizer } },
  );
}

/** What a name in `tokenizer.ggml.pre` stands for. Throws `UNSUPPORTED` for a name that is not known here. */
export function preTokenizerOf(pre: string) {
  const family = FAMILIES.find((known) => known.pre === pre || known.aliases.includes(pre));
  if (!family) {
    const known = FAMILIES.map((each) => each.pre).join(', ');
    throw new HalftoneError(
      'UNSUPPORTED',
      `tokenizer.ggml.pre '${pre}' is not known; known are ${known} and their aliases`,
      {
        where: 'tokenizer',
        details: { pre },
      },
    );
  }
  const splits = family.patterns.map((pattern) => ({
    type: 'Split',
    pattern: { Regex: pattern },
    behavior: 'Isolated',
    invert: false,
  }));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  return {
    preTokenizer: { type: 'Sequence', pretokenizers: [...splits, byteLevel] },
    ignoreMerges: family.ignoreMerges,
    addBos: family.addBos,
  };
}

/** The regular expressions of a byte-level pre-tokenizer in order, or undefined when it holds anything else. */
function splitPatterns(preTokenizer: Json | null | undefined): string[] | undefined {
  if (!preTokenizer) return undefined;
  if (preTokenizer.type === 'Sequence') {
    const parts = (preTokenizer.pretokenizers as Json[]).map(splitPatterns);
    return parts.every((part) => part !== undefined) ? parts.flat() : undefined;
  }
  if (preTokenizer.type === 'ByteLevel' && preTokenizer.add_prefix_space !== true) {
    return preTokenizer.use_regex === false ? [] : [GPT2_PATTERN];
  }
  if (preTokenizer.type === 'Digits' && preTokenizer.individual_digits === true) return ['\\p{N}'];
  const pattern = preTokenizer.type === 'Split' ? (preTokenizer.pattern as Json | undefined)?.Regex : undefined;
  const cuts = preTokenizer.behavior === 'Isolated' && preTokenizer.invert !== true;
  return typeof pattern === 'string' && (cuts || preTokenizer.behavior === undefined) ? [escaped(pattern)] : undefined;
}

/** Some files write line breaks themselves where others write `\\r\\n`. */
function escaped(pattern: string): string {
  return pattern.replaceAll('\r', '\\r').replaceAll('\n', '\\n');
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
