// Calls EchoService by @grpc/grpc-js, and says of each case whether what the client sees is right.
//
// Standard input: a JSON list of ways to a server, each
// {"way", "target", "authority", "proxy": null or {"variable", "url"},
// "tls": null or {"trusted", "certificate", "key"}, "cases": [names]}.
// Standard output: for each case of each way a line {"way", "case", "wrong": null or what is wrong}.
'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

// A case that takes longer hangs. All are played at the same time, hundreds of them, maybe on a slow and busy machine.
const PATIENCE_MS = 120_000;
const MESSAGE_BYTES_MAX = 64 << 20;
const LARGE_BYTES = 3 << 20;
const NOBODY = Buffer.from('\0\xff\x80nobody', 'latin1');

const definition = loader.loadSync(path.join(__dirname, 'echo.proto'), { keepCase: true, longs: Number, defaults: true });
const { EchoService } = grpc.loadPackageDefinition(definition).mesher.peers;
const { status } = grpc;

// A way to a server: a channel, and names of calls that no other case uses.
class Way {
  static names = 0;

  constructor(description) {
    this.description = description;
    this.client = this.connect({});
  }

  connect(more) {
    const { target, authority, proxy, tls } = this.description;
    // The variables count when a channel is made, and for that channel only.
    for (const variable of ['grpc_proxy', 'https_proxy', 'http_proxy']) delete process.env[variable];
    if (proxy) process.env[proxy.variable] = proxy.url;
    const options = {
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
      'grpc.use_local_subchannel_pool': 1,
      ...more,
    };
    if (!proxy) options['grpc.default_authority'] = authority;
    if (!proxy && tls) options['grpc.ssl_target_name_override'] = authority;
    const credentials = tls
      ? grpc.credentials.createSsl(...[tls.trusted, tls.key, tls.certificate].map((pem) => Buffer.from(pem)))
      : grpc.credentials.createInsecure();
    return new EchoService(target, credentials, options);
  }

  name() {
    Way.names += 1;
    return `${process.pid}-${Way.names}`;
  }

  unary(request, options = {}) {
    return this.once('Unary', request, options);
  }

  // A call that is answered once; its result, what came beside it, and the call itself.
  once(method, request, { metadata = new grpc.Metadata(), ...options } = {}) {
    let call;
    const seen = {};
    const done = new Promise((resolve) => {
      call = this.client[method](request, metadata, options, (error, reply) => { Object.assign(seen, { error, reply }); });
      call.on('metadata', (metadata) => { seen.initial = metadata; });
      call.on('status', (status) => resolve({ ...seen, status }));
    });
    return Object.assign(done, { cancel: () => call.cancel() });
  }

  async begun(id) {
    await this.reply(this.once('Watch', { id }));
  }

  async assertCancelled(id) {
    assert.equal((await this.reply(this.once('Watch', { id, ended: true }))).cancelled, true);
  }

  async reply(call) {
    const { status: { code, details }, reply } = await call;
    assert.equal(code, status.OK, `${code} ${details}`);
    return reply;
  }
}

// What comes on a stream: its messages one by one, then its status.
function follow(call) {
  const [messages, waiting] = [[], []];
  const settle = () => { while (waiting.length > 0 && messages.length > 0) waiting.shift()(messages.shift()); };
  call.on('data', (message) => { messages.push(message); settle(); });
  call.on('error', () => {});
  const ended = new Promise((resolve) => call.on('status', (status) => {
    messages.push(null);
    settle();
    resolve(status);
  }));
  return { next: () => new Promise((resolve) => { waiting.push(resolve); settle(); }), ended };
}

const cases = {
  async empty_unary(way) {
    assert.equal((await way.reply(way.unary({}))).payload.length, 0);
  },

  async large_unary(way) {
    const payload = crypto.randomBytes(LARGE_BYTES);
    assert(payload.equals((await way.reply(way.unary({ payload }))).payload), 'other bytes came back');
  },

  async client_streaming(way) {
    const reply = await new Promise((resolve, reject) => {
      const call = way.client.ClientStream((error, reply) => (error ? reject(error) : resolve(reply)));
      for (const size of [1, 0, 70_000]) call.write({ payload: Buffer.alloc(size) });
      call.end();
    });
    assert.deepEqual([reply.requests, reply.request_bytes], [3, 70_001]);
  },

  async empty_client_stream(way) {
    const reply = await new Promise((resolve, reject) => {
      way.client.ClientStream((error, reply) => (error ? reject(error) : resolve(reply))).end();
    });
    assert.equal(reply.requests, 0);
  },

  async server_streaming(way) {
    const call = way.client.ServerStream({ payload: Buffer.from('x'), replies: 50 });
    let replies = 0;
    for await (const reply of call) {
      assert.equal(reply.payload.toString(), 'x');
      replies += 1;
    }
    assert.equal(replies, 50);
  },

  async empty_server_stream(way) {
    const { next, ended } = follow(way.client.ServerStream({}));
    assert.equal(await next(), null);
    assert.equal((await ended).code, status.OK);
  },

  async bidi_streaming(way) {
    const call = way.client.Bidi();
    const { next, ended } = follow(call);
    for (let turn = 1; turn <= 20; turn += 1) {
      call.write({ payload: Buffer.from(`${turn}`) });
      const reply = await next();
      assert.deepEqual([reply?.payload.toString(), reply?.requests], [`${turn}`, turn]);
    }
    call.end();
    assert.equal(await next(), null);
    assert.equal((await ended).code, status.OK);
  },

  async empty_bidi_stream(way) {
    const call = way.client.Bidi();
    const { next, ended } = follow(call);
    call.end();
    assert.equal(await next(), null);
    assert.equal((await ended).code, status.OK);
  },

  async deadline(way) {
    // The shortest that lets the call reach the server, however busy the machine is.
    for (const timeout of [200, 1000, 5000, 20_000]) {
      const id = way.name();
      const { next, ended } = follow(way.client.ServerStream({ id, replies: 1, hold: true }, { deadline: Date.now() + timeout }));
      const hasBegun = (await next()) !== null;
      assert.equal((await ended).code, status.DEADLINE_EXCEEDED);
      if (hasBegun) {
        await way.assertCancelled(id);
        return;
      }
    }
  },

  async deadline_as_the_server_sees_it(way) {
    const reply = await way.reply(way.unary({}, { deadline: Date.now() + 600_000 }));
    assert(reply.time_left_ms > 300_000 && reply.time_left_ms <= 600_000, `${reply.time_left_ms}`);
  },

  async no_deadline(way) {
    assert.equal((await way.reply(way.unary({}))).time_left_ms, 0);
  },

  async cancel_before_the_answer(way) {
    const id = way.name();
    const call = way.unary({ id, hold: true });
    await way.begun(id);
    call.cancel();
    assert.equal((await call).status.code, status.CANCELLED);
    await way.assertCancelled(id);
  },

  async cancel_after_an_answer(way) {
    const id = way.name();
    const call = way.client.ServerStream({ id, replies: 1, hold: true });
    const { next, ended } = follow(call);
    assert.notEqual(await next(), null);
    call.cancel();
    assert.equal((await ended).code, status.CANCELLED);
    await way.assertCancelled(id);
  },

  async status_and_message(way) {
    const fail_message = 'kein Käse: 100% weg €\n\u{1f600}';
    const { status: { code, details } } = await way.unary({ fail_code: 5, fail_message });
    assert.deepEqual([code, details], [status.NOT_FOUND, fail_message]);
  },

  async status_after_answers(way) {
    // grpc-js forgets messages that it has not handed out yet when a failure comes, so it comes when they were.
    const call = way.client.Bidi();
    const { next, ended } = follow(call);
    call.write({});
    assert.notEqual(await next(), null);
    call.write({ fail_code: 9, fail_message: 'später' });
    assert.notEqual(await next(), null);
    call.end();
    assert.equal(await next(), null);
    const { code, details } = await ended;
    assert.deepEqual([code, details], [status.FAILED_PRECONDITION, 'später']);
  },

  async metadata(way) {
    const metadata = new grpc.Metadata();
    metadata.add('x-echo-a', 'one');
    metadata.add('x-echo-b-bin', NOBODY);
    metadata.add('x-echo-a', 'two, three');
    const seen = await way.unary({}, { metadata });
    for (const [prefix, metadata] of [['x-echo-', seen.initial], ['x-trailer-', seen.status.metadata]]) {
      // Node joins what is repeated with commas.
      assert.equal(metadata.get(`${prefix}a`).join(', '), 'one, two, three');
      assert.deepEqual(metadata.get(`${prefix}b-bin`), [NOBODY]);
    }
  },

  async metadata_of_a_failure(way) {
    const metadata = new grpc.Metadata();
    metadata.add('x-echo-why-bin', NOBODY);
    const seen = await way.unary({ fail_code: 7 }, { metadata });
    assert.equal(seen.status.code, status.PERMISSION_DENIED);
    assert.deepEqual(seen.status.metadata.get('x-trailer-why-bin'), [NOBODY]);
  },

  async unknown_method(way) {
    assert.equal((await way.once('Unserved', {})).status.code, status.UNIMPLEMENTED);
  },

  async unknown_rpc_service(way) {
    const same = (bytes) => bytes;
    const code = await new Promise((resolve) => {
      way.client.makeUnaryRequest('/mesher.peers.Nobody/Unary', same, same, Buffer.alloc(0), () => {})
        .on('status', ({ code }) => resolve(code));
    });
    assert.equal(code, status.UNIMPLEMENTED);
  },

  async compressed(way) {
    const payload = Buffer.from('again and again '.repeat(10_000));
    const client = way.connect({ 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip });
    const reply = await new Promise((resolve, reject) => {
      client.Unary({ payload }, (error, reply) => (error ? reject(error) : resolve(reply)));
    });
    client.close();
    assert(payload.equals(reply.payload), 'other bytes came back');
  },

  async calls_over_short_connections(way) {
    // The server ends each connection after 200 ms, with GOAWAY.
    const end = Date.now() + 600;
    while (Date.now() < end) {
      const calls = [1, 2, 3, 4].map(() => way.reply(way.unary({ payload: Buffer.from('x') })));
      for (const reply of await Promise.all(calls)) assert.equal(reply.payload.toString(), 'x');
    }
  },

  async unavailable(way) {
    const { status: { code, details } } = await way.unary({});
    assert.equal(code, status.UNAVAILABLE);
    assert.notEqual(details, '', 'no message says why');
  },
};

async function run(way, name) {
  let timer;
  const hangs = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('it hangs')), PATIENCE_MS); });
  try {
    await Promise.race([cases[name](way), hangs]);
    return null;
  } catch (error) {
    return error.stack;
  } finally {
    clearTimeout(timer);
  }
}

async function play(way, name) {
  const wrong = await run(way, name);
  process.stdout.write(`${JSON.stringify({ way: way.description.way, case: name, wrong })}\n`);
}

async function main() {
  const ways = JSON.parse(fs.readFileSync(0, 'utf8')).map((description) => new Way(description));
  await Promise.all(ways.flatMap((way) => way.description.cases.map((name) => play(way, name))));
  // grpc-js keeps the socket of a CONNECT that was refused.
  process.exit(0);
}

main();
