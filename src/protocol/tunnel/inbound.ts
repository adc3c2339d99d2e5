import * as v from 'valibot'
import { host } from '../../config/hosts.ts'
import { notYet, oneOf, portOrText, strictObject, withoutEffect } from '../../config/schema.ts'
import { defineInbound, type Inbound } from '../../contract/inbound.ts'
import type { Port } from '../../core/endpoint.ts'

const networks = oneOf(['tcp', 'udp', 'tcp,udp', 'udp,tcp'])

const settings = strictObject({
  address: v.optional(host()),
  port: v.optional(portOrText()),
  network: v.optional(networks),
  rewriteAddress: v.optional(host()),
  rewritePort: v.optional(portOrText()),
  allowedNetwork: v.optional(networks),
  portMap: notYet(),
  followRedirect: v.optional(
    v.pipe(
      v.boolean(),
      v.check(isOn => !isOn, 'is not supported by this version of Sluice'),
    ),
  ),
  userLevel: withoutEffect('has no effect: there is one policy level'),
})

export interface TunnelOptions {
  readonly address: string
  /** Null: the port of the listener. */
  readonly port: Port | null
  readonly networks: readonly ('tcp' | 'udp')[]
}

/** Every connection and datagram goes to one target: a port forward (Xray's `dokodemo-door`). */
export const tunnelInbound: Inbound = defineInbound<TunnelOptions>({
  type: 'dokodemo-door',
  aliases: ['tunnel'],
  options: v.pipe(
    settings,
    v.rawTransform<v.InferOutput<typeof settings>, TunnelOptions>(
      ({ dataset, addIssue, NEVER }) => {
        const given = dataset.value
        const address = given.address ?? given.rewriteAddress
        if (address === undefined) {
          addIssue({ message: 'needs an "address": where the connections are to go' })
          return NEVER
        }
        return {
          address,
          port: given.port ?? given.rewritePort ?? null,
          networks: (given.network ?? given.allowedNetwork ?? 'tcp')
            .split(',')
            .filter(word => word === 'tcp' || word === 'udp'),
        }
      },
    ),
  ),
  create: options => ({
    networks: options.networks,
    packetTarget: listening => ({ host: options.address, port: options.port ?? listening.port }),
    accept: (link, context) =>
      Promise.resolve({
        request: {
          network: 'tcp',
          target: { host: options.address, port: options.port ?? context.listening.port },
          user: null,
          source: link.path.remote,
        },
        link: link.handOver(),
        packets: null,
        open: given => Promise.resolve(given),
        // There is no word for no: a reset, as from a port where nobody listens.
        refuse: async (given, why) => {
          await given.abort(why)
        },
      }),
  }),
})
