export type Json = Record<string, unknown>;

/** GPT-2's characters for bytes: printable ones stand for themselves, the others follow from U+0100. */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(printable ? byte : next++);
  });
})();

const encodeBytes = (text: string) =>
  Array.from(new TextEncoder().encode(text), (byte) => BYTE_CHARACTERS[byte] as string);

/** Merges that build `words` from their characters, left to right, and the tokens that they make. */
function mergesFor(words: readonly string[]) {
  const tokens = new Set<string>();
  const merges = new Map<string, [string, string]>();
  for (const word of words) {
    const [first = '', ...rest] = Array.from(word);
    let left = first;
    for (const right of rest) {
      merges.set(`${left} ${right}`, [left, right]);
      left += right;
      tokens.add(left);
    }
  }
  return { tokens: [...tokens], merges: [...merges.values()] };
}

/** Every pair of bytes that stand beside each other in the hostile texts: a cut anywhere changes what is merged. */
function adjacentBytes(): string[] {
  const pairs = HOSTILE_TEXTS.flatMap((text) => {
    const bytes = encodeBytes(text);
    return bytes.slice(1).map((byte, i) => (bytes[i] as string) + byte);
  });
  return [...new Set(pairs)];
}

const WORDS = [
  'the',
  ' the',
  'ing',
  '  ',
  '    ',
  '\n\n',
  ' 20',
  '2024',
  '123',
  "'s",
  'é',
  ' é',
  '日本',
  '🙂',
  '...',
  '//',
  'THE',
];

/** A byte-level tokenizer with every byte and merges that show where text is cut. A control token and a user-defined one come last. */
export function byteLevelTokenizer(preTokenizer: object, model: Json = {}): Json {
  const { tokens, merges } = mergesFor([...WORDS.map((word) => encodeBytes(word).join('')), ...adjacentBytes()]);
  const texts = [...BYTE_CHARACTERS, ...tokens];
  return {
    added_tokens: [
      { id: texts.length, content: '<|end|>', special: true },
      { id: texts.length + 1, content: '<think>', special: false },
    ],
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: Object.fromEntries(texts.map((text, id) => [text, id])), merges, ...model },
  };
}

const PIECES = [
  '▁the',
  'the',
  '▁t',
  'ing',
  '▁▁',
  '▁▁▁▁',
  '▁20',
  '123',
  'é',
  '▁é',
  '日本',
  "'s",
  '...',
  '\n\n',
  '▁a',
  'ab',
  '▁ab',
];

/**
 * SentencePiece-like BPE with all bytes, and every pair of tokens that makes a token among its merges, in the order of the
 * tokens.
 */
export function sentencePieceTokenizer(spaces: Json = {}): Json {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const parts = PIECES.flatMap((piece) =>
    Array.from(piece, (_, i) =>
      Array.from(piece)
        .slice(0, i + 1)
        .join(''),
    ),
  );
  const single = [...new Set(PIECES.flatMap((piece) => Array.from(piece))), '▁'];
  const longer = [...new Set([...PIECES, ...parts])].filter((text) => Array.from(text).length > 1);
  const texts = [...new Set(['<unk>', '<s>', '</s>', ...bytes, ...longer, ...single])];
  const merges = longer.flatMap((text) =>
    Array.from({ length: text.length - 1 }, (_, i) => [text.slice(0, i + 1), text.slice(i + 1)]).filter((pair) =>
      pair.every((part) => texts.includes(part)),
    ),
  );
  const special = ['<unk>', '<s>', '</s>'].map((content, id) => ({ id, content, special: true, normalized: false }));
  return {
    added_tokens: [...special, { id: texts.length, content: '<tool>', special: false, normalized: false }],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: 'Sequence', decoders: [{ type: 'ByteFallback' }, { type: 'Fuse' }] },
    model: {
      type: 'BPE',
      byte_fallback: true,
      fuse_unk: true,
      unk_token: '<unk>',
      vocab: Object.fromEntries(texts.map((text, id) => [text, id])),
      merges,
    },
    ...spaces,
  };
}

/** Gemma's way of writing spaces: no prefix, and a cut that finds nothing to cut. */
export const GEMMA_SPACES = {
  normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
  pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
};

/** A WordPiece tokenizer with BERT's special tokens. */
export function wordPieceTokenizer(normalizer: Json = {}): Json {
  const words = [
    'the',
    'un',
    'naive',
    'naïve',
    'The',
    'a',
    'b',
    'é',
    'e',
    '日',
    '本',
    '🙂',
    '.',
    ',',
    "'",
    '<',
    '>',
    '[',
    ']',
    '$',
    '2',
  ];
  const endings = ['##the', '##aff', '##able', '##a', '##b', '##e', '##é', '##0', '##2', '##4', '##s', '##🙂', '##т'];
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
  const texts = [...special, ...words, ...endings];
  return {
    added_tokens: special.map((content, id) => ({ id, content, special: true, normalized: false })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
      ...normalizer,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '[CLS]', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '[SEP]', type_id: 0 } },
      ],
      pair: [],
      special_tokens: {
        '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
        '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
      },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(texts.map((text, id) => [text, id])),
    },
  };
}

/** Texts that tokenizers disagree on first. */
export const HOSTILE_TEXTS: readonly string[] = [
  'the thing is the 2024 plan',
  ' the',
  '  the   ing    end  ',
  'a\n\nb\n\n\n c \n d\r\n\r\ne\t\tf \t g',
  '\n',
  ' ',
  "it's IT'S we'll WE'LL I'd 'tis o'clock ''s",
  '1 12 123 1234 12345 1234567 3.14159 1,000,000 ½ ٣٤ 四',
  'naïve café é é ＡＢＣ ﬁ ß ſ',
  '日本語テスト 中文，标点。한국어 ไทย हिन्दी العربية',
  '🙂👨‍👩‍👧‍👦🇩🇪 x🙂y ✂️',
  'snake_case CamelCase HTTPServer iPhone12Pro foo(bar)[0] += "x" // comment',
  '<|end|>the<think> the<tool>the</s><s><unk>[CLS] [MASK][SEP]x<|end|>',
  '\u200b\u00a0\u2003x\u3000y\u0085z\ufeff\u0000q\u0007',
  'x\ufffdy \u{10ffff} \u{e000}',
  '…—“quoted” ‘single’ $5 €6 ^~`|<>=+ !!! ?! ...//..',
  'А Б привет мир Ünïcödé ǅ ʼn İI ıi',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbb                                 c',
];
