export { checkProduct } from './check-product.js';
export {
  type Continuation,
  type ContinueEvent,
  type ContinueRequest,
  continuePrompt,
} from './continue-prompt.js';
