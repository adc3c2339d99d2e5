/** Listens and never accepts: once its short queue is full, a dial to it hangs. */
import net from 'node:net'
import { parentPort } from 'node:worker_threads'

const server = net.createServer()
server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  const address = server.address()
  parentPort?.postMessage(typeof address === 'object' && address !== null ? address.port : 0)
  // Not in this turn, so that the message leaves first.
  setImmediate(() => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })
})
