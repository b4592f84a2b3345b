export { type DownloadModelOptions, downloadModel, hubModelFiles } from './hub/download-model.js';
export {
  type HubFile,
  type HubOptions,
  type HubSnapshot,
  hubFileUrl,
  hubHeaders,
  hubSnapshot,
} from './hub/hub-files.js';
export { type HubModel, parseHubName } from './hub/hub-name.js';
