// A protocol of one's own in a few lines: the client says where it wants to go in one line,
// `HOST PORT\n`, and everything after that goes there. Run it with Node 26: node examples/shout.ts
import net from 'node:net'
import { defineInbound, type Link, parseConfig, parsePort, readHead, start } from '../src/index.ts'
import * as v from 'valibot'

const shout = defineInbound({
  type: 'shout',
  options: v.strictObject({}),
  create: () => ({
    networks: ['tcp'],
    async accept(link: Link) {
      const halves = link.takeApart()
      const head = await readHead(halves.source, decodeLine, 300)
      halves.source = head.source
      const [host = '', port = ''] = head.value.split(' ')
      return {
        request: {
          network: 'tcp',
          target: { host, port: parsePort(Number(port)) },
          user: null,
          source: halves.path.remote,
        },
        link: halves.join(),
        packets: null,
        open: (given: Link) => Promise.resolve(given),
        refuse: async (given: Link, why) => {
          await given.abort(why)
        },
      }
    },
  }),
})

/** One line; asks for more bytes until its end is there. */
function decodeLine(bytes: Uint8Array): DecodedLine {
  const end = bytes.indexOf(10)
  if (end < 0) return { kind: 'need', bytes: 1 }
  return { kind: 'done', value: new TextDecoder().decode(bytes.subarray(0, end)), size: end + 1 }
}
type DecodedLine =
  | { readonly kind: 'done'; readonly value: string; readonly size: number }
  | { readonly kind: 'need'; readonly bytes: number }

const { config } = parseConfig(
  'example',
  `{
    "inbounds": [{ "tag": "shouting", "protocol": "shout", "listen": "127.0.0.1", "port": 1 }],
    "outbounds": [{ "tag": "direct", "protocol": "freedom" }]
  }`,
  { protocols: { inbounds: [shout] } },
)

// An origin that answers in capitals once it has heard everything.
const origin = net.createServer({ allowHalfOpen: true }, socket => {
  let heard = ''
  socket.on('data', bytes => (heard += bytes.toString()))
  socket.on('end', () => socket.end(heard.toUpperCase()))
})
await new Promise<void>(resolve => {
  origin.listen(0, '127.0.0.1', resolve)
})

// Port 0: any free one.
const inbounds = config.inbounds.map(inbound => ({ ...inbound, port: parsePort(0) }))
const engine = await start(
  { ...config, inbounds },
  {
    protocols: { inbounds: [shout] },
    onEvent: event => {
      if (event.kind === 'flow-ended')
        console.log(`flow #${String(event.record.id)} ended ${event.record.reason}`)
    },
  },
)

const address = origin.address()
const originPort = typeof address === 'object' && address !== null ? address.port : 0
const port = engine.inbounds[0]?.local.port ?? 0
const client = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true })
client.end(`127.0.0.1 ${String(originPort)}\nhello, late reply`)
let answer = ''
for await (const bytes of client) answer += String(bytes)
console.log(answer)

origin.close()
console.log(`${String(await engine.stop(1_000))} left`)
