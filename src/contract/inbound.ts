import type * as v from 'valibot'
import type { Bytes } from '../bytes/bytes.ts'
import type { Endpoint } from '../core/endpoint.ts'
import type { SluiceError } from '../core/errors.ts'
import type { Halves, Link } from '../core/link.ts'
import type { Scope } from '../core/scope.ts'
import type { Accepted } from './flow.ts'

/** What an inbound may use while it reads a client's head. */
export interface AcceptContext {
  /** The flow: what is made through it ends with it. A handshake deadline is running on it. */
  readonly scope: Scope
  /** The address the listener is bound to. */
  readonly listening: Endpoint
  /**
   * The protocol's own answer to a head that is wrong or not allowed, then the end; throws `why`. An
   * `accept` that throws without it has its client reset.
   */
  refuse(halves: Halves, answer: Bytes, why: SluiceError): Promise<never>
}

/** An inbound with its options, ready to serve. */
export interface InboundHandler {
  readonly networks: readonly ('tcp' | 'udp')[]
  /**
   * Reads the head from `link`, which it takes over, and says what the client wants. Throws for a head
   * that is wrong, through `context.refuse` where the protocol has an answer for it.
   */
  accept(link: Link, context: AcceptContext): Promise<Accepted>
  /** Where a datagram that came to the listener goes; only for inbounds with network `udp`. */
  packetTarget?(listening: Endpoint): Endpoint
}

/** An inbound protocol: a value on a list. Its options stay its own. */
export interface Inbound {
  readonly type: string
  readonly aliases: readonly string[]
  readonly options: v.GenericSchema
  create(options: unknown): InboundHandler
}

export interface InboundDefinition<Options> {
  /** The name in the configuration's `protocol`. */
  readonly type: string
  readonly aliases?: readonly string[]
  /** What `settings` may be. */
  readonly options: v.GenericSchema<unknown, Options>
  create(options: Options): InboundHandler
}

/** Makes an inbound protocol from its definition. The schema guards what `create` gets. */
export function defineInbound<Options>(definition: InboundDefinition<Options>): Inbound {
  return {
    type: definition.type,
    aliases: definition.aliases ?? [],
    options: definition.options,
    // The configuration has parsed the options with this very schema.
    create: options => definition.create(options as Options),
  }
}
