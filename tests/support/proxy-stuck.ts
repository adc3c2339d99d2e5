/** A listener that never accepts and keeps one connection waiting: once it is full, nobody answers. */
import net from 'node:net'

const server = net.createServer()
server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
  process.send?.(server.address(), () => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })
})
