// A chat behind the gateway of belfry: it holds no connection of a client.
import { createServer } from 'node:http'

const names = new Map() // by session id

const push = (text) => ({ type: 'push', to: { topic: 'chat' }, data: text })

const handlers = {
  '/session'(event) {
    if (event.type === 'belfry.session.closed') {
      names.delete(event.sid)
      return commands(push(`${event.uid} has left`))
    }
    names.set(event.sid, event.uid)
    return commands({ type: 'subscribe', topic: 'chat' }, push(`${event.uid} is here`))
  },
  '/say'(event) {
    if (!event.data.text) return [400, 'text/plain', 'say something'] // the client gets this text
    return commands(push(`${event.uid}: ${event.data.text}`))
  },
  '/who': () => [200, 'application/json', JSON.stringify([...names.values()].sort())],
}

function commands(...commands) {
  return [200, 'application/vnd.belfry.commands+json', JSON.stringify({ commands })]
}

createServer(async (request, response) => {
  const handler = handlers[request.url]
  if (!handler || request.method !== 'POST') return response.writeHead(404).end()
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const { 'ce-type': type, 'ce-sid': sid, 'ce-uid': uid = '' } = request.headers
  const data = JSON.parse(Buffer.concat(chunks).toString() || '{}')
  const [status, kind, body] = handler({ type, sid, uid: decodeURIComponent(uid), data })
  response.writeHead(status, { 'content-type': kind }).end(body)
}).listen(process.env.PORT, '127.0.0.1')
