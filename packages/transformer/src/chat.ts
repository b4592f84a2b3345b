import { HalftoneError } from '@halftone/tensor';
import { Template } from '@huggingface/jinja';

export interface ChatMessage {
  /** `system`, `user`, `assistant`, or what else the template knows. */
  readonly role: string;
  readonly content: string;
  readonly [field: string]: unknown;
}

export interface ChatTemplateOptions {
  /** End with the opening of an assistant's turn, for generation. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** Texts of the special tokens that the template puts in. Default empty. */
  readonly bosToken?: string;
  readonly eosToken?: string;
  readonly tools?: readonly unknown[];
  /** Further variables of the template, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/**
 * Writes a conversation as the text that a model was trained on, through `@huggingface/jinja`. The text holds the special
 * tokens already: encode it with `addSpecialTokens: false`.
 * Throws `FORMAT` for a template that does not parse and `RANGE` with the template's words when it refuses the messages.
 */
export function applyChatTemplate(
  template: string,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions = {},
): string {
  let parsed: Template;
  try {
    parsed = new Template(template);
  } catch (cause) {
    throw templateError('FORMAT', 'the chat template does not parse', cause);
  }
  const { addGenerationPrompt = false, bosToken = '', eosToken = '', tools, variables } = options;
  try {
    return parsed.render({
      ...variables,
      messages,
      add_generation_prompt: addGenerationPrompt,
      bos_token: bosToken,
      eos_token: eosToken,
      ...(tools && { tools }),
    });
  } catch (cause) {
    throw templateError('RANGE', 'the chat template refuses these messages', cause);
  }
}

function templateError(code: 'FORMAT' | 'RANGE', problem: string, cause: unknown): HalftoneError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new HalftoneError(code, `${problem}: ${reason}`, { where: 'chat', cause });
}
