/** Listens on the path it is given, until it is killed. */
import net from 'node:net'

const [, , path] = process.argv
net.createServer().listen({ path }, () => {
  process.send?.('listening')
})
