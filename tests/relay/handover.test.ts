import assert from 'node:assert/strict'
import { after } from 'node:test'
import { httpConnect, httpYes, socks5Connect, socks5Greeting } from '../support/clients.ts'
import { Peer } from '../support/peer.ts'
import { becomes } from '../support/resources.ts'
import { type Target, withEngine } from '../support/tunnel.ts'
import { endWord, resetWord, veiledOutbound, wordyOutbound } from './layers.ts'
import {
  checkRecord,
  checkReset,
  checkTook,
  checkWhole,
  cleanly,
  closeAll,
  scenario,
} from './scenario.ts'

const peer = Peer.start()
after(() => peer.stop())

const mib = 1_048_576
const up = 1
const down = 2

for (const size of [1, 65_536, 3 * mib + 1]) {
  scenario(
    'R36',
    async () => {
      const target = await peer.listen()
      const left: number[] = []
      const veil = { downBytes: size, upBytes: size, onLeave: (at: number) => left.push(at) }
      const protocols = { outbounds: [veiledOutbound(veil)] }
      await withEngine({ target, protocols, outbound: 'veiled' }, async tunnel => {
        const client = await peer.connect(tunnel.port())
        const server = await target.accept()
        const bytes = 6 * mib
        const [gotUp, gotDown] = await Promise.all([
          server.read({ seed: up, veiled: size }),
          client.read({ seed: down }),
          client.send(bytes, up).then(() => client.end()),
          server.send(bytes, down, { veiled: size }).then(() => server.end()),
        ])
        checkWhole(gotUp, bytes)
        checkWhole(gotDown, bytes)
        assert.deepEqual(left, [size])
        checkRecord(await tunnel.records.next(), { ...cleanly, up: bytes, down: bytes })
        await closeAll(client, server)
      })
      await target.stop()
    },
    { variant: `at byte ${String(size)}` },
  )
}

scenario(
  'R36',
  async () => {
    const target = await peer.listen({ receiveBuffer: 16_384 })
    const left: number[] = []
    const veil = {
      downBytes: 1,
      upBytes: 'pending',
      onLeave: (at: number) => left.push(at),
    } as const
    const protocols = { outbounds: [veiledOutbound(veil)] }
    await withEngine({ target, protocols, outbound: 'veiled' }, async tunnel => {
      const client = await peer.connect(tunnel.port())
      const server = await target.accept()
      // The server reads nothing before a write is pending, which is where the layer is left.
      const bytes = 16 * mib
      const sending = client.send(bytes, up).then(() => client.end())
      assert.ok(await becomes(() => left.length > 0))
      const [at = 0] = left
      checkWhole(await server.read({ seed: up, veiled: at }), bytes)
      await sending
      assert.ok(at > 0 && at < bytes)
      assert.equal(left.length, 1)
      await server.end()
      assert.equal(await client.readText(), '')
      checkRecord(await tunnel.records.next(), { ...cleanly, up: bytes, down: 0 })
      await closeAll(client, server)
    })
    await target.stop()
  },
  { variant: 'while a write is pending' },
)

/** What a client says first, the bytes behind it in the same segment, and what it hears. */
const heads: readonly {
  readonly tag: string
  readonly name: string
  readonly head: (target: Target) => Uint8Array
  readonly answer: string
}[] = [
  {
    tag: 'socks',
    name: 'SOCKS5',
    head: target => Buffer.concat([socks5Greeting, socks5Connect(target)]),
    answer: Buffer.from([5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).toString('latin1'),
  },
  {
    tag: 'socks',
    name: 'SOCKS4',
    head: ({ port }) => Buffer.from([4, 1, port >> 8, port & 255, 127, 0, 0, 1, 0]),
    answer: Buffer.from([0, 90, 0, 0, 0, 0, 0, 0]).toString('latin1'),
  },
  {
    tag: 'http',
    name: 'CONNECT',
    head: target => Buffer.from(httpConnect(target)),
    answer: httpYes,
  },
  {
    tag: 'mixed',
    name: 'CONNECT to a mixed port',
    head: target => Buffer.from(httpConnect(target)),
    answer: httpYes,
  },
]

for (const { tag, name, head, answer } of heads) {
  scenario(
    'R37',
    async () => {
      const target = await peer.listen()
      await withEngine({}, async tunnel => {
        const client = await peer.connect(tunnel.port(tag))
        await client.sayBytes(Buffer.concat([head(target), Buffer.from('abc')]))
        const server = await target.accept()
        assert.equal(await server.readText({ bytes: 3 }), 'abc')
        assert.equal(await client.readText({ bytes: answer.length }), answer)
        await client.say('def')
        await client.end()
        assert.equal(await server.readText(), 'def')
        await server.end()
        assert.equal(await client.readText(), '')
        checkRecord(await tunnel.records.next(), { ...cleanly, up: 6, down: 0 })
        await closeAll(client, server)
      })
      await target.stop()
    },
    { variant: `behind ${name}` },
  )
}

const wordy = { protocols: { outbounds: [wordyOutbound()] }, outbound: 'wordy' } as const

scenario('R41', async () => {
  const target = await peer.listen()
  await withEngine({ target, ...wordy }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    await client.say('req')
    await client.end()
    assert.equal(await server.readText({ bytes: 3 }), 'req')
    const rest = server.read()
    const [, reply] = await Promise.all([
      server.send(mib, down, { afterMs: 100 }),
      client.read({ seed: down, bytes: mib }),
    ])
    assert.deepEqual([reply.bytes, reply.end, reply.isRight], [mib, null, true])
    const endedAt = await server.end(50)
    assert.equal(await client.readText(), '')
    const end = await rest
    assert.equal(end.head.toString(), endWord, 'the end is told,')
    assert.equal(end.end, 'eof')
    assert.ok(Number(end.firstAt) >= endedAt, 'but not while a reply may come')
    checkRecord(await tunnel.records.next(), { ...cleanly, up: 3, down: mib })
    await closeAll(client, server)
  })
  await target.stop()
})

scenario(
  'R41',
  async () => {
    const target = await peer.listen()
    const halfCloseIdleMs = 400
    await withEngine({ target, policy: { halfCloseIdleMs }, ...wordy }, async tunnel => {
      const client = await peer.connect(tunnel.port())
      const server = await target.accept()
      const endedAt = await client.end()
      const end = await server.read()
      assert.equal(end.head.toString(), endWord)
      assert.equal(end.end, 'eof')
      checkTook(end.at - endedAt, halfCloseIdleMs - 5, halfCloseIdleMs + 1_000, 'the end')
      assert.equal(checkReset(await client.read()), 0)
      const byTimer = {
        reason: 'half-close-idle',
        side: 'local',
        call: null,
        system: null,
      } as const
      checkRecord(await tunnel.records.next(), { ...byTimer, up: 0, down: 0 })
      await closeAll(client, server)
    })
    await target.stop()
  },
  { variant: 'and a silent server' },
)

scenario('R42', async () => {
  const target = await peer.listen()
  await withEngine({ target, ...wordy }, async tunnel => {
    const client = await peer.connect(tunnel.port())
    const server = await target.accept()
    await client.say('req')
    assert.equal(await server.readText({ bytes: 3 }), 'req')
    const rest = server.read()
    await client.reset({ afterMs: 50 })
    const told = await rest
    assert.equal(told.head.toString(), resetWord, 'the word for a reset, not the one for an end')
    assert.equal(told.end, 'ECONNRESET')
    const record = await tunnel.records.next()
    const broken = { reason: 'reset', call: 'read', system: 'ECONNRESET' } as const
    checkRecord(record, { ...broken, side: 'near', up: 3, down: 0 })
    await server.close()
  })
  await target.stop()
})
