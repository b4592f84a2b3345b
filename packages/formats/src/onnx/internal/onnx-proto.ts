/** Field numbers of the messages of onnx.proto that are read or written here. Source: onnx/onnx.proto (ONNX 1.20). */

export const MODEL = {
  irVersion: 1,
  producerName: 2,
  producerVersion: 3,
  domain: 4,
  modelVersion: 5,
  docString: 6,
  graph: 7,
  opsetImport: 8,
  metadataProps: 14,
} as const;

export const OPERATOR_SET = { domain: 1, version: 2 } as const;

/** `StringStringEntryProto`: metadata, and the places of external data. */
export const ENTRY = { key: 1, value: 2 } as const;

export const GRAPH = { node: 1, name: 2, initializer: 5, input: 11, output: 12 } as const;

export const NODE = { input: 1, output: 2, name: 3, opType: 4, attribute: 5, domain: 7 } as const;

export const ATTRIBUTE = { name: 1, float: 2, int: 3, string: 4, floats: 7, ints: 8, type: 20 } as const;

/** `AttributeProto.AttributeType` */
export const ATTRIBUTE_TYPES = { float: 1, int: 2, string: 3, floats: 6, ints: 7 } as const;

export const TENSOR = {
  dims: 1,
  dataType: 2,
  segment: 3,
  floatData: 4,
  int32Data: 5,
  stringData: 6,
  int64Data: 7,
  name: 8,
  rawData: 9,
  doubleData: 10,
  uint64Data: 11,
  externalData: 13,
  dataLocation: 14,
} as const;

/** `TensorProto.DataLocation.EXTERNAL` */
export const EXTERNAL = 1;

export const VALUE = { name: 1, type: 2 } as const;

/** `TypeProto` */
export const TYPE = { tensor: 1 } as const;

/** `TypeProto.Tensor` */
export const TENSOR_TYPE = { elementType: 1, shape: 2 } as const;

export const SHAPE = { dim: 1 } as const;

export const DIMENSION = { value: 1, parameter: 2 } as const;
