/** The named bounds of a configuration: a hostile file is refused, never a reason to run out. */
export const limits = {
  /** Of a file; of a text that was read elsewhere, in UTF-16 units. */
  bytesMax: 16_777_216,
  /** Objects and lists inside each other, the outermost one included. */
  depthMax: 64,
  /** Values, keys, brackets, commas and colons of one file together. */
  tokensMax: 2_000_000,
  /** Items of one list a schema declares. */
  itemsMax: 65_536,
  /** Unknown keys of one object that are told one by one. */
  unknownKeysMax: 100,
} as const
