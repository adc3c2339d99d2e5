import type { Inbound } from './inbound.ts'
import type { Outbound } from './outbound.ts'
import type { Transport } from './transport.ts'

/** What can be named in a configuration: values on lists. */
export interface Protocols {
  readonly inbounds: readonly Inbound[]
  readonly outbounds: readonly Outbound[]
  readonly transports: readonly Transport[]
}
