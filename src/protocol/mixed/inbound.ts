import * as v from 'valibot'
import type { Accepted } from '../../contract/flow.ts'
import {
  type AcceptContext,
  defineInbound,
  type Inbound,
  type InboundHandler,
} from '../../contract/inbound.ts'
import { done, type Bytes, type Decoded, need } from '../../bytes/bytes.ts'
import { prefixed, readHead } from '../../core/head.ts'
import type { Link } from '../../core/link.ts'

/**
 * SOCKS and HTTP on one port, told apart by the first byte: 4 and 5 begin SOCKS, no HTTP method does.
 * Takes the options of `socks`; its accounts are asked for by both.
 */
export function mixedInbound(socks: Inbound, http: Inbound): Inbound {
  return defineInbound<MixedOptions>({
    type: 'mixed',
    options: v.pipe(socks.options, v.transform(asMixed)),
    create: options => {
      const isOpen = options.given['auth'] !== 'password'
      const accounts = isOpen ? [] : options.given['accounts']
      return new MixedHandler(socks.create(options.given), http.create({ accounts }))
    },
  })
}

interface MixedOptions {
  readonly given: Readonly<Record<string, unknown>>
}

function asMixed(given: unknown): MixedOptions {
  const entries = typeof given === 'object' && given !== null ? Object.entries(given) : []
  return { given: Object.fromEntries<unknown>(entries) }
}

class MixedHandler implements InboundHandler {
  readonly networks = ['tcp'] as const
  readonly #socks: InboundHandler
  readonly #http: InboundHandler

  constructor(socks: InboundHandler, http: InboundHandler) {
    this.#socks = socks
    this.#http = http
  }

  async accept(link: Link, context: AcceptContext): Promise<Accepted> {
    const halves = link.takeApart()
    const first = await readHead(halves.source, firstByte)
    halves.source = prefixed(new Uint8Array([first.value]), first.source)
    const isSocks = first.value === 4 || first.value === 5
    return (isSocks ? this.#socks : this.#http).accept(halves.join(), context)
  }
}

function firstByte(bytes: Bytes): Decoded<number> {
  const [byte] = bytes
  return byte === undefined ? need(1) : done(byte, 1)
}
