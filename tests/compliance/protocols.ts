import { parsePort } from '../../src/core/endpoint.ts'
import type { Link } from '../../src/core/link.ts'
import type { Scope } from '../../src/core/scope.ts'
import { network } from '../../src/net/network.ts'
import { raw } from '../../src/transport/raw/raw.ts'
import type { Candidate, Pair } from './links.ts'

/** Everything shipped that gives links; each must pass the suite. A new transport is one entry here. */
export const shippedLinks: readonly Candidate[] = [
  {
    name: 'raw TCP (portable plane)',
    ends: 'half',
    resets: 'plain',
    underWayMax: 40_000_000,
    make: rawPair,
  },
]

async function rawPair(root: Scope): Promise<Pair> {
  const noNames = { resolve: () => Promise.reject(new Error('no names here')) }
  const transport = raw.create({}, network(noNames))
  const accepted = Promise.withResolvers<Link>()
  const where = { host: '127.0.0.1', port: parsePort(0) }
  const listener = await transport.listen(root, where, {
    onLink: accepted.resolve,
    onFault: accepted.reject,
  })
  const far = await transport.dial(root, listener.local, { connectTimeoutMs: 5_000 })
  const near = await accepted.promise
  await listener.stop()
  return { near, far }
}
