/** A port forward with Node's own `pipe`, as one writes it first: `pipe.ts PORT TARGET-HOST TARGET-PORT`. */
import net from 'node:net'

const [port, host = '127.0.0.1', targetPort] = process.argv.slice(2)

net
  .createServer({ allowHalfOpen: true }, near => {
    const far = net.connect({ host, port: Number(targetPort), allowHalfOpen: true })
    near.pipe(far)
    far.pipe(near)
    near.on('error', () => far.destroy())
    far.on('error', () => near.destroy())
  })
  .listen({ host: '127.0.0.1', port: Number(port), backlog: 4_096 })
