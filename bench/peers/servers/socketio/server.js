// A push server on socket.io: WebSocket only, every connection in a room of
// its user, POST /v1/all and POST /v1/users/{uid} on a port of their own.
// What is set apart from the defaults is what socket.io's manual advises for
// many connections ("Memory usage", "Performance tuning").
'use strict';

const http = require('http');
const { Server } = require('socket.io');

const [listen, api] = process.argv.slice(2);

function address(s) {
  const at = s.lastIndexOf(':');
  return { host: s.slice(0, at), port: Number(s.slice(at + 1)) };
}

const sockets = http.createServer();
const io = new Server(sockets, { transports: ['websocket'], serveClient: false });

// The first request of a connection is not needed any more.
io.engine.on('connection', (raw) => { raw.request = null; });

io.on('connection', (socket) => { socket.join('user:' + socket.handshake.auth.uid); });

const users = '/v1/users/';

function push(request, payload) {
  if (request.url === '/v1/all') {
    io.emit('m', payload);
  } else if (request.url.startsWith(users)) {
    io.to('user:' + decodeURIComponent(request.url.slice(users.length))).emit('m', payload);
  } else {
    return 404;
  }
  return 202;
}

const control = http.createServer((request, response) => {
  if (request.method === 'GET' && request.url === '/readyz') {
    response.end();
    return;
  }
  if (request.method !== 'POST') {
    response.statusCode = 405;
    response.end();
    return;
  }
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    response.statusCode = push(request, Buffer.concat(chunks).toString());
    response.end();
  });
});

control.keepAliveTimeout = 120_000; // ms; publishers pause for longer than the 5 s that are the default

sockets.listen({ ...address(listen), backlog: 4096 }, () => control.listen({ ...address(api), backlog: 4096 }));
