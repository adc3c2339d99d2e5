/**
 * The named bounds of the kernel: nothing that a peer feeds grows without one of these. Protocols keep
 * their own beside their codec.
 */
export const limits = {
  /** Values in one turn of the event loop before a source must give a promise, so that others run. */
  valuesPerTurn: 16,
  /** Bytes read and dropped after `cancel` before the link is reset. */
  cancelDropBytes: 65_536,
  /** How long `cancel` reads and drops. */
  cancelDropMs: 1_000,
  /** How long a refused client has to take the answer and to go. */
  refusalMs: 2_000,
  /** The longest head (request, greeting) a protocol may send before it is refused. */
  headBytesMax: 65_536,
  /** UDP associations of one inbound; the longest silent one makes room. */
  associationsMax: 16_384,
  /** Datagrams that wait for a flow which is still being set up; later ones are dropped and counted. */
  packetsWaitingMax: 64,
  /** The largest payload of one datagram. */
  packetBytesMax: 65_535,
} as const
