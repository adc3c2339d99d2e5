import * as v from 'valibot'
import { notYet, oneOf, strictObject, wholeNumber, withoutEffect } from '../../config/schema.ts'
import type { FlowRequest } from '../../contract/flow.ts'
import {
  defineOutbound,
  type Outbound,
  type OutboundContext,
  type OutboundHandler,
} from '../../contract/outbound.ts'
import { coreError } from '../../core/errors.ts'
import type { Link } from '../../core/link.ts'
import type { PacketLink } from '../../core/packets.ts'
import { say } from '../../core/polite.ts'
import type { Scope } from '../../core/scope.ts'
import { dial } from '../../net/dial.ts'
import { UdpLink } from '../../net/udp.ts'
import { encodeProxyV1, encodeProxyV2 } from '../../wire/proxy-protocol.ts'
import { ResolvingPackets } from './resolving-packets.ts'

export interface FreedomOptions {
  readonly domainStrategy: 'AsIs'
  /** The PROXY protocol header that is sent before the first byte; 0: none. */
  readonly proxyProtocol: number
}

/** Straight to the target. */
export const freedomOutbound: Outbound = defineOutbound<FreedomOptions>({
  type: 'freedom',
  aliases: ['direct'],
  options: strictObject({
    domainStrategy: v.optional(
      oneOf(['AsIs'], {
        anyCase: true,
        notYet: ['UseIP', 'UseIPv4', 'UseIPv6', 'ForceIP', 'ForceIPv4', 'ForceIPv6'],
      }),
      'AsIs',
    ),
    proxyProtocol: v.optional(wholeNumber(0, 2), 0),
    redirect: notYet(),
    fragment: notYet(),
    noise: notYet(),
    noises: notYet(),
    finalRules: notYet(),
    userLevel: withoutEffect('has no effect: there is one policy level'),
  }),
  create: (options, context) => new FreedomHandler(options, context),
})

class FreedomHandler implements OutboundHandler {
  readonly #options: FreedomOptions
  readonly #context: OutboundContext

  constructor(options: FreedomOptions, context: OutboundContext) {
    this.#options = options
    this.#context = context
  }

  async link(request: FlowRequest, scope: Scope): Promise<Link> {
    if (request.target === null)
      throw coreError('bug', { detail: { what: 'a link needs a target' } })
    const { network, connectTimeoutMs, sendThrough } = this.#context
    const link = await dial(network, scope, request.target, {
      connectTimeoutMs,
      ...(sendThrough === null ? {} : { from: sendThrough }),
    })
    if (this.#options.proxyProtocol === 0) return link
    // Who came to us, and where the target itself thinks it is.
    const ends = { source: request.source, target: link.path.remote }
    const isFirst = this.#options.proxyProtocol === 1
    return say(link, isFirst ? encodeProxyV1(ends) : encodeProxyV2({ ...ends, ...spokenFor }))
  }

  packets(request: FlowRequest, scope: Scope): Promise<PacketLink> {
    const { network, sendThrough } = this.#context
    const name = request.target === null ? 'any' : request.target.host
    return Promise.resolve(
      new ResolvingPackets(new UdpLink(scope, name, sendThrough), network.resolver, request.target),
    )
  }
}

const spokenFor = { local: false, transport: 'stream', tlvs: [] } as const
