import { describe, expect, it } from 'vitest';
import { applyChatTemplate } from '../src/index.js';

const CHATML =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

describe('applyChatTemplate', () => {
  it('writes turns and the opening of the answer', () => {
    const messages = [
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'Hi' },
    ];
    expect(applyChatTemplate(CHATML, messages, { addGenerationPrompt: true })).toBe(
      '<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
    );
  });

  it('gives the template special tokens and variables', () => {
    const text = applyChatTemplate(
      '{{ bos_token }}{{ messages[0].content | trim }}{{ eos_token }}{{ mood }}',
      [{ role: 'user', content: ' x ' }],
      {
        bosToken: '<s>',
        eosToken: '</s>',
        variables: { mood: 'calm' },
      },
    );
    expect(text).toBe('<s>x</s>calm');
  });

  it('tells a broken template from refused messages', () => {
    expect(() => applyChatTemplate('{% for %}', [])).toThrow(expect.objectContaining({ code: 'FORMAT' }));
    const refusing = "{{ raise_exception('roles must alternate') }}";
    expect(() => applyChatTemplate(refusing, [])).toThrow(
      expect.objectContaining({ code: 'RANGE', message: expect.stringContaining('roles must alternate') }),
    );
  });
});
