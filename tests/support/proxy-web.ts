import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'

/** What the large transfers carry. */
export const bigBytes: Buffer = randomBytes(16 * 1_048_576)
export const bigSha: string = sha256(bigBytes)

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** How an origin saw a request. */
export interface Seen {
  readonly origin: string
  readonly method: string
  readonly url: string
  readonly version: string
  readonly headers: Readonly<Record<string, string>>
  readonly bytes: number
  readonly sha: string
}

/** `/big` is a large body; anything else is answered by how the request was seen, as JSON. */
export function webOrigin(
  name: string,
  onSeen: (seen: Seen) => void = () => undefined,
): RequestListener {
  return (request, response) => {
    if (request.url === '/big') {
      response.writeHead(200, { 'content-length': bigBytes.length }).end(bigBytes)
      return
    }
    describe(name, request, response, onSeen)
  }
}

function describe(
  origin: string,
  request: IncomingMessage,
  response: ServerResponse,
  onSeen: (seen: Seen) => void,
): void {
  const hash = createHash('sha256')
  let bytes = 0
  request.on('data', (chunk: Uint8Array) => {
    bytes += chunk.length
    hash.update(chunk)
  })
  request.on('end', () => {
    const { method = '', url = '', httpVersion: version } = request
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([key, value]) => [key, String(value)]),
    )
    const seen = { origin, method, url, version, headers, bytes, sha: hash.digest('hex') }
    onSeen(seen)
    response.end(JSON.stringify(seen))
  })
}

/** What `webOrigin` has answered. */
export function seenIn(body: Buffer): Seen {
  const seen: Seen = JSON.parse(body.toString())
  return seen
}
