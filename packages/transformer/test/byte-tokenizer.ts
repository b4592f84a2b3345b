/** `tokenizer.json` of 256 byte tokens and `<end>` (id 256, special). */
export function byteTokenizerJson(): Readonly<Record<string, unknown>> {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  const vocab: Record<string, number> = {};
  let shifted = 256;
  for (let byte = 0; byte < 256; byte++) vocab[String.fromCharCode(printable(byte) ? byte : shifted++)] = byte;
  return {
    added_tokens: [{ id: 256, content: '<end>', special: true }],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges: [] },
  };
}
