import type * as v from 'valibot'
import type { Endpoint } from '../core/endpoint.ts'
import type { Link } from '../core/link.ts'
import type { Scope } from '../core/scope.ts'
import type { DialOptions } from '../net/dial.ts'
import type { Listener, ListenHandlers } from '../net/listen.ts'
import type { Network } from '../net/network.ts'

/** A transport with its options: what carries links over a network. */
export interface TransportHandler {
  listen(owner: Scope, where: Endpoint, handlers: ListenHandlers): Promise<Listener>
  dial(owner: Scope, target: Endpoint, options: DialOptions): Promise<Link>
}

/** A transport: a value on a list. */
export interface Transport {
  readonly type: string
  readonly aliases: readonly string[]
  readonly options: v.GenericSchema
  create(options: unknown, network: Network): TransportHandler
}

export interface TransportDefinition<Options> {
  /** The name in the configuration's `streamSettings.network`. */
  readonly type: string
  readonly aliases?: readonly string[]
  readonly options: v.GenericSchema<unknown, Options>
  create(options: Options, network: Network): TransportHandler
}

/** Makes a transport from its definition. */
export function defineTransport<Options>(definition: TransportDefinition<Options>): Transport {
  return {
    type: definition.type,
    aliases: definition.aliases ?? [],
    options: definition.options,
    // The configuration has parsed the options with this very schema.
    create: (options, network) => definition.create(options as Options, network),
  }
}
