import * as v from 'valibot'
import { ipAddress } from '../../config/hosts.ts'
import { oneOf, strictObject, withoutEffect } from '../../config/schema.ts'
import { type Account, accountList, Accounts } from '../../contract/accounts.ts'
import type { Accepted, FlowRequest } from '../../contract/flow.ts'
import {
  type AcceptContext,
  defineInbound,
  type Inbound,
  type InboundHandler,
} from '../../contract/inbound.ts'
import type { Bytes } from '../../bytes/bytes.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import { asError, type SluiceError } from '../../core/errors.ts'
import { readHead } from '../../core/head.ts'
import type { Halves, Link } from '../../core/link.ts'
import { refuseWith, say, write } from '../../core/polite.ts'
import { udpAssociate } from './associate.ts'
import {
  decodeCredentials,
  decodeOpening,
  decodeRequest5,
  encodeCredentialsReply,
  encodeMethodChoice,
  encodeReply4,
  encodeReply5,
  Socks4Reply,
  type Socks4Request,
  Socks5Reply,
  type Socks5Request,
  SocksCommand,
  socksError,
  SocksMethod,
  socks5ReplyFor,
} from './wire.ts'

const settings = {
  auth: v.optional(oneOf(['noauth', 'password']), 'noauth'),
  accounts: v.optional(accountList(), []),
  udp: v.optional(v.boolean(), false),
  ip: v.optional(ipAddress()),
  userLevel: withoutEffect('has no effect: there is one policy level'),
}

export interface SocksOptions {
  readonly auth: 'noauth' | 'password'
  readonly accounts: readonly Account[]
  /** Whether UDP ASSOCIATE is offered. */
  readonly udp: boolean
  /** The address that clients are told to send datagrams to; else the one they connected to. */
  readonly ip?: string | undefined
}

/** SOCKS 4, 4a and 5 with CONNECT and UDP ASSOCIATE (RFC 1928, 1929). */
export const socksInbound: Inbound = defineInbound<SocksOptions>({
  type: 'socks',
  options: v.pipe(
    strictObject(settings),
    v.check(
      options => options.auth === 'noauth' || options.accounts.length > 0,
      '"auth" is "password", so "accounts" must name at least one user',
    ),
  ),
  create: options => new SocksHandler(options),
})

class SocksHandler implements InboundHandler {
  readonly networks = ['tcp'] as const
  readonly #accounts: Accounts
  readonly #options: SocksOptions

  constructor(options: SocksOptions) {
    this.#options = options
    this.#accounts = new Accounts(options.auth === 'password' ? options.accounts : [])
  }

  async accept(link: Link, context: AcceptContext): Promise<Accepted> {
    const halves = link.takeApart()
    const opening = await readHead(halves.source, decodeOpening)
    halves.source = opening.source
    return opening.value.version === 4
      ? this.#accept4(halves, opening.value, context)
      : this.#accept5(halves, opening.value.methods, context)
  }

  async #accept4(
    halves: Halves,
    request: Socks4Request,
    context: AcceptContext,
  ): Promise<Accepted> {
    if (!this.#accounts.isEmpty || request.command !== SocksCommand.connect) {
      const isBind = request.command !== SocksCommand.connect
      const why = socksError(isBind ? 'command-refused' : 'not-authenticated')
      await context.refuse(halves, encodeReply4(Socks4Reply.rejected), why)
    }
    return {
      request: requestOf('tcp', request.target, null, halves),
      link: halves.join(),
      packets: null,
      open: given => say(given, encodeReply4(Socks4Reply.granted)),
      refuse: (given, why) =>
        refuseWith(given.takeApart(), encodeReply4(Socks4Reply.rejected), why),
    }
  }

  async #accept5(halves: Halves, methods: Bytes, context: AcceptContext): Promise<Accepted> {
    const user = await this.#authenticate(halves, methods, context)
    const request = await this.#readRequest(halves, context)
    switch (request.command) {
      case SocksCommand.connect:
        return {
          request: requestOf('tcp', request.target, user, halves),
          link: halves.join(),
          packets: null,
          open: given => say(given, encodeReply5(Socks5Reply.succeeded)),
          refuse: refuse5,
        }
      case SocksCommand.udpAssociate:
        if (this.#options.udp) return this.#associate(halves, request, user, context)
        break
      default:
    }
    const why = socksError('command-refused', { detail: { command: request.command } })
    return context.refuse(halves, encodeReply5(Socks5Reply.commandNotSupported), why)
  }

  /** Settles the method and, where users are asked for, who this is (RFC 1929). */
  async #authenticate(
    halves: Halves,
    methods: Bytes,
    context: AcceptContext,
  ): Promise<string | null> {
    const wanted = this.#accounts.isEmpty ? SocksMethod.open : SocksMethod.password
    if (!methods.includes(wanted)) {
      const why = socksError('not-authenticated')
      await context.refuse(halves, encodeMethodChoice(SocksMethod.none), why)
    }
    await write(halves, encodeMethodChoice(wanted))
    if (wanted === SocksMethod.open) return null
    const credentials = await readHead(halves.source, decodeCredentials)
    halves.source = credentials.source
    const { user, pass } = credentials.value
    if (!this.#accounts.isRight(user, pass)) {
      const why = socksError('not-authenticated')
      await context.refuse(halves, encodeCredentialsReply(false), why)
    }
    await write(halves, encodeCredentialsReply(true))
    return user
  }

  /** A request with an unknown command or a wrong address gets the reply that says so. */
  async #readRequest(halves: Halves, context: AcceptContext): Promise<Socks5Request> {
    try {
      const head = await readHead(halves.source, decodeRequest5)
      halves.source = head.source
      return head.value
    } catch (thrown) {
      const why = asError(thrown)
      const isFormat = why.code === 'socks.bad-command' || why.code.startsWith('address.')
      if (!isFormat) throw why
      return context.refuse(halves, encodeReply5(socks5ReplyFor(why)), why)
    }
  }

  async #associate(
    halves: Halves,
    request: Socks5Request,
    user: string | null,
    context: AcceptContext,
  ): Promise<Accepted> {
    try {
      const { path } = halves
      const udp = await udpAssociate(context.scope, path, request.target, this.#options.ip)
      return {
        request: { ...requestOf('udp', request.target, user, halves), target: null },
        link: halves.join(),
        packets: udp.packets,
        open: given => say(given, encodeReply5(Socks5Reply.succeeded, udp.bound)),
        refuse: refuse5,
      }
    } catch (thrown) {
      // No socket for the datagrams, or a control connection that has no address to put one on.
      const why = asError(thrown)
      return context.refuse(halves, encodeReply5(socks5ReplyFor(why)), why)
    }
  }
}

function requestOf(
  network: 'tcp' | 'udp',
  target: Endpoint,
  user: string | null,
  halves: Halves,
): FlowRequest {
  return { network, target, user, source: halves.path.remote }
}

async function refuse5(given: Link, why: SluiceError): Promise<void> {
  await refuseWith(given.takeApart(), encodeReply5(socks5ReplyFor(why)), why)
}
