// EchoService by @grpc/grpc-js.
//
// Standard input: a line {"connection_age_ms_max": null or a number, "tls": {"trusted", "certificate", "key"}}; its end
// ends the server. Standard output: two ports in one line, in the clear and over TLS.
'use strict';

const path = require('node:path');
const readline = require('node:readline');
const { promisify } = require('node:util');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const ECHOED = 'x-echo-';
const MESSAGE_BYTES_MAX = 64 << 20;

const definition = loader.loadSync(path.join(__dirname, 'echo.proto'), { keepCase: true, longs: Number, defaults: true });
const { EchoService } = grpc.loadPackageDefinition(definition).mesher.peers;

// What Watch tells of each call.
const calls = new Map();

function watched(id) {
  if (!calls.has(id)) {
    const entry = { cancelled: false, over: false };
    entry.begun = new Promise((resolve) => { entry.begin = resolve; });
    entry.ended = new Promise((resolve) => {
      entry.end = () => {
        entry.over = true;
        resolve();
      };
    });
    calls.set(id, entry);
  }
  return calls.get(id);
}

function begin(call, id) {
  const entry = watched(id);
  entry.begin();
  call.on('cancelled', () => {
    // grpc-js says it as well of calls that were answered, if the client closes the stream at once.
    if (entry.over) return;
    entry.cancelled = true;
    entry.end();
  });
  return entry;
}

function echoed(call, prefix) {
  const metadata = new grpc.Metadata();
  for (const key of Object.keys(call.metadata.getMap()).filter((key) => key.startsWith(ECHOED))) {
    for (const value of call.metadata.get(key)) {
      metadata.add(prefix + key.slice(ECHOED.length), value);
    }
  }
  return metadata;
}

// Sends metadata first, if there is any to send; an error without any is then a single block of fields.
function sendMetadata(call) {
  const metadata = echoed(call, ECHOED);
  if (Object.keys(metadata.getMap()).length > 0) call.sendMetadata(metadata);
}

function replyTo(call, request, requests, bytes) {
  const deadline = call.getDeadline();
  return {
    payload: request.reply_bytes > 0 ? Buffer.alloc(request.reply_bytes) : request.payload,
    requests,
    request_bytes: bytes,
    time_left_ms: deadline === Infinity ? 0 : Math.max(1, Math.floor(Number(deadline) - Date.now())),
  };
}

function failure(call, request) {
  return { code: request.fail_code, details: request.fail_message, metadata: echoed(call, 'x-trailer-') };
}

// Ends a call that answers once.
function answer(call, callback, entry, request, reply) {
  sendMetadata(call);
  if (request.hold) return;
  if (request.fail_code) callback(failure(call, request));
  else callback(null, reply, echoed(call, 'x-trailer-'));
  entry.end();
}

// Ends a call that answers in a stream.
function finish(call, entry, request) {
  if (request.fail_code) call.emit('error', failure(call, request));
  else call.end(echoed(call, 'x-trailer-'));
  entry.end();
}

const NOTHING = { id: '', payload: Buffer.alloc(0), reply_bytes: 0, replies: 0, hold: false, fail_code: 0 };

const handlers = {
  Unary(call, callback) {
    const { request } = call;
    answer(call, callback, begin(call, request.id), request, replyTo(call, request, 1, request.payload.length));
  },

  ClientStream(call, callback) {
    let [requests, bytes, last, entry] = [0, 0, NOTHING, null];
    call.on('data', (request) => {
      entry ??= begin(call, request.id);
      [requests, bytes, last] = [requests + 1, bytes + request.payload.length, request];
    });
    call.on('end', () => answer(call, callback, entry ?? begin(call, ''), last, replyTo(call, last, requests, bytes)));
  },

  ServerStream(call) {
    const { request } = call;
    const entry = begin(call, request.id);
    sendMetadata(call);
    for (let reply = 0; reply < request.replies; reply += 1) {
      call.write(replyTo(call, request, 1, request.payload.length));
    }
    if (!request.hold) finish(call, entry, request);
  },

  Bidi(call) {
    let [requests, bytes, last, entry] = [0, 0, NOTHING, null];
    sendMetadata(call);
    call.on('data', (request) => {
      entry ??= begin(call, request.id);
      [requests, bytes, last] = [requests + 1, bytes + request.payload.length, request];
      call.write(replyTo(call, request, requests, bytes));
    });
    call.on('end', () => {
      if (!last.hold) finish(call, entry ?? begin(call, ''), last);
    });
  },

  Watch(call, callback) {
    const entry = watched(call.request.id);
    (call.request.ended ? entry.ended : entry.begun).then(() => callback(null, { cancelled: entry.cancelled }));
  },
};

async function serve({ connection_age_ms_max, tls }) {
  const options = { 'grpc.max_receive_message_length': MESSAGE_BYTES_MAX };
  if (connection_age_ms_max) options['grpc.max_connection_age_ms'] = connection_age_ms_max;
  const server = new grpc.Server(options);
  server.addService(EchoService.service, handlers);
  const bind = promisify(server.bindAsync.bind(server));
  const [trusted, private_key, cert_chain] = [tls.trusted, tls.key, tls.certificate].map((pem) => Buffer.from(pem));
  const secure = grpc.ServerCredentials.createSsl(trusted, [{ private_key, cert_chain }], true);
  const clear = await bind('127.0.0.1:0', grpc.ServerCredentials.createInsecure());
  process.stdout.write(`${clear} ${await bind('127.0.0.1:0', secure)}\n`);
}

const input = readline.createInterface({ input: process.stdin });
input.once('line', (line) => serve(JSON.parse(line)));
input.on('close', () => process.exit(0));
