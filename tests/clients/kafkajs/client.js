// KafkaJS: the checks. driver/harness.py tells what the environment holds.
'use strict'
process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'
const fs = require('fs')
const crypto = require('crypto')
const { isDeepStrictEqual } = require('util')
const {
  Kafka, CompressionTypes, CompressionCodecs, logLevel, ConfigResourceTypes, AclResourceTypes, AclOperationTypes,
  AclPermissionTypes, ResourcePatternTypes,
} = require('kafkajs')
const lz4 = require('lz4js')
const zstd = require('@mongodb-js/zstd')
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => zstd.compress(encoder.buffer),
  decompress: async buffer => zstd.decompress(buffer),
})

const PARTITIONS = 6
const RECORDS = 1000
const PATIENCE = 30000
const BASE_MS = Date.now() - 100000
const BOOTSTRAP = (process.env.HOPWISE_BOOTSTRAP || '').split(',')
const BROKERS = Object.fromEntries((process.env.HOPWISE_BROKERS || '').split(',').map(entry => entry.split('=')))
const REPLICAS = Math.min(3, Object.keys(BROKERS).length)
let security = {}

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const kafka = (more = {}) => new Kafka({
  clientId: 'kafkajs', brokers: BOOTSTRAP, logLevel: logLevel.NOTHING, requestTimeout: 20000,
  retry: { retries: 5, initialRetryTime: 200 }, ...security, ...more,
})

function equal (got, wanted, what) {
  if (!isDeepStrictEqual(got, wanted)) throw new Error(`${what}: got ${shorten(got)}, expected ${shorten(wanted)}`)
}

function shorten (value) {
  const text = JSON.stringify(value) || String(value)
  return text.length < 200 ? text : text.slice(0, 200) + '...'
}

function isTrue (sound, what) {
  if (!sound) throw new Error(what)
}

async function until (what, look, patience = PATIENCE) {
  const end = Date.now() + patience
  while (Date.now() < end) {
    if (await look()) return
    await sleep(100)
  }
  throw new Error(`${what}: not within ${patience} ms`)
}

async function fails (promise, type, what) {
  try {
    await promise
  } catch (error) {
    const types = [error.type, error.cause && error.cause.type, ...(error.errors || []).map(one => one.type)]
    isTrue(types.includes(type), `${what}: ${error.name} ${types} ${error.message}`)
    return
  }
  throw new Error(`${what}: no error`)
}

async function withAdmin (use) {
  const admin = kafka().admin()
  await admin.connect()
  try {
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}

async function create (topic, partitions = 1, configEntries = []) {
  await withAdmin(async admin => {
    await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: REPLICAS, configEntries }] })
    await until(`topic ${topic} is known`, async () => {
      const found = await described(admin, topic)
      return found && found.partitions.length === partitions && found.partitions.every(one => one.leader >= 0)
    })
  })
  return topic
}

async function described (admin, topic) {
  try {
    return (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]
  } catch (error) {
    if (error.type === 'UNKNOWN_TOPIC_OR_PARTITION' || error.type === 'LEADER_NOT_AVAILABLE') return null
    throw error
  }
}

async function produce (topic, messages, { compression, ...more } = {}) {
  const producer = kafka().producer({ allowAutoTopicCreation: false, ...more })
  await producer.connect()
  try {
    return await producer.send({ topic, messages, acks: -1, compression })
  } finally {
    await producer.disconnect()
  }
}

const simple = (count, partition = 0) => [...Array(count).keys()].map(
  i => ({ partition, key: `k${i}`, value: `v${i}`, timestamp: String(BASE_MS + i) }))
const numbered = (prefix, from, to) => [...Array(to - from).keys()].map(i => `${prefix}${from + i}`)
const values = messages => messages.map(one => one.message.value && one.message.value.toString())
let groups = 0

// The client has no consumer without a group, so each reader is a group of its own.
async function consume (topic, count, { seek, ...more } = {}) {
  const consumer = kafka().consumer({
    groupId: `reader-${++groups}`, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 300, ...more,
  })
  const messages = []
  await consumer.connect()
  try {
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    let crash
    // After an error that passes, such as a coordinator that is loading, the client starts again by itself.
    consumer.on(consumer.events.CRASH, event => { crash = event.payload.restart ? crash : event.payload.error })
    await consumer.run({ eachMessage: async one => { messages.push(one) } })
    if (seek !== undefined) consumer.seek({ topic, partition: 0, offset: String(seek) })
    await until(`${count} messages of ${topic}`, () => {
      if (crash) throw crash
      return messages.length >= count
    })
    return messages.slice(0, count)
  } finally {
    await consumer.disconnect()
  }
}

async function metadata () {
  await withAdmin(async admin => {
    const found = await admin.describeCluster()
    const got = Object.fromEntries(found.brokers.map(one => [String(one.nodeId), `${one.host}:${one.port}`]))
    equal(got, BROKERS, 'brokers')
    isTrue(String(found.controller) in got, 'the controller is a broker')
  })
}

async function createTopic () {
  await create('js-create', PARTITIONS)
  await withAdmin(async admin => {
    for (const one of (await described(admin, 'js-create')).partitions) {
      equal(new Set(one.replicas).size, REPLICAS, 'replicas')
      isTrue(one.replicas.includes(one.leader), 'the leader is a replica')
    }
    equal(await admin.createTopics({ topics: [{ topic: 'js-create', numPartitions: 1, replicationFactor: REPLICAS }] }), false, 'creating it again')
  })
}

async function produceFetch () {
  const topic = await create('js-records', PARTITIONS)
  const wanted = [...Array(RECORDS).keys()].map(i => ({
    key: Buffer.from(`key-${i}`),
    value: Buffer.concat([Buffer.from(`value-${i}-`), Buffer.from([...Array(i % 300).keys()].map(j => j % 256))]),
    headers: { number: Buffer.from(String(i)), bytes: Buffer.from([0, 255, i % 256]) },
    timestamp: String(BASE_MS + i),
  }))
  await produce(topic, wanted.map((one, i) => ({ ...one, partition: i % PARTITIONS })))
  const next = Array(PARTITIONS).fill(0)
  for (const { partition, message } of await consume(topic, RECORDS)) {
    const i = next[partition]++ * PARTITIONS + partition
    const { key, value, headers, timestamp } = message
    equal({ key, value, headers: { number: headers.number, bytes: headers.bytes }, timestamp }, wanted[i], `record ${i}`)
  }
}

const codec = compression => async () => {
  const topic = await create(`js-codec-${compression}`)
  const sent = [...Array(100).keys()].map(i => `${i}-` + 'compressible '.repeat(50))
  await produce(topic, sent.map(value => ({ partition: 0, value })), { compression })
  equal(values(await consume(topic, 100)), sent, 'values')
}

async function idempotentProducer () {
  const topic = await create('js-idempotent')
  const producer = kafka().producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  try {
    for (let start = 0; start < 500; start += 100) {
      const [answer] = await producer.send({ topic, messages: simple(500).slice(start, start + 100) })
      equal(answer.baseOffset, String(start), 'base offset')
    }
  } finally {
    await producer.disconnect()
  }
  equal(values(await consume(topic, 500)), numbered('v', 0, 500), 'values')
}

async function withTransactions (transactionalId, use) {
  const producer = kafka().producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  try {
    await use(producer)
  } finally {
    await producer.disconnect()
  }
}

async function inTransaction (producer, topic, sent) {
  const transaction = await producer.transaction()
  await transaction.send({ topic, messages: sent.map(value => ({ partition: 0, value })) })
  return transaction
}

async function transactionCommit () {
  const topic = await create('js-commit')
  await withTransactions('js-commit', async producer => {
    for (let start = 0; start < 20; start += 10) {
      await (await inTransaction(producer, topic, numbered('c', start, start + 10))).commit()
    }
  })
  equal(values(await consume(topic, 20)), numbered('c', 0, 20), 'committed values')
}

async function transactionAbort () {
  const topic = await create('js-abort')
  await withTransactions('js-abort', async producer => {
    await (await inTransaction(producer, topic, ['aborted', 'aborted', 'aborted'])).abort()
    await (await inTransaction(producer, topic, ['kept'])).commit()
  })
  equal(values(await consume(topic, 1)), ['kept'], 'read_committed')
  const everything = await consume(topic, 4, { readUncommitted: true })
  equal(values(everything), ['aborted', 'aborted', 'aborted', 'kept'], 'read_uncommitted')
}

async function groupOffset (groupId, topic) {
  const [found] = await withAdmin(admin => admin.fetchOffsets({ groupId, topics: [topic] }))
  return found.partitions[0].offset
}

async function transactionOffsets () {
  const source = await create('js-source')
  const sink = await create('js-sink')
  await produce(source, simple(10))
  const offsets = { consumerGroupId: 'js-txn', topics: [{ topic: source, partitions: [{ partition: 0, offset: '10' }] }] }
  await withTransactions('js-txn-offsets', async producer => {
    const aborted = await inTransaction(producer, sink, ['abort'])
    await aborted.sendOffsets(offsets)
    await aborted.abort()
    equal(await groupOffset('js-txn', source), '-1', 'offset after an abort')
    const committed = await inTransaction(producer, sink, ['commit'])
    await committed.sendOffsets(offsets)
    await committed.commit()
    await until('the offset', async () => await groupOffset('js-txn', source) === '10')
  })
  equal(values(await consume(sink, 1)), ['commit'], 'the sink')
}

async function listOffsets () {
  const topic = await create('js-offsets')
  await produce(topic, simple(100))
  await withAdmin(async admin => {
    const [{ low, high }] = await admin.fetchTopicOffsets(topic)
    equal([low, high], ['0', '100'], 'earliest and latest')
    const [byTime] = await admin.fetchTopicOffsetsByTimestamp(topic, BASE_MS + 42)
    equal(byTime.offset, '42', 'by time')
    const [late] = await admin.fetchTopicOffsetsByTimestamp(topic, BASE_MS + 1e9)
    equal(late.offset, '100', 'after the last')
  })
}

async function outOfRangeReset () {
  const topic = await create('js-range')
  await produce(topic, simple(10))
  equal(values(await consume(topic, 10, { seek: 1000 })), numbered('v', 0, 10), 'values after the reset')
}

// A group member; KafkaJS calls back with what it is given.
class Member {
  constructor (groupId, topic, more = {}) {
    this.assigned = []
    this.seen = new Set()
    const { clientId, ...rest } = more
    this.consumer = kafka(clientId ? { clientId } : {}).consumer({
      groupId, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 10000, maxWaitTimeInMs: 300, ...rest,
    })
    this.consumer.on(this.consumer.events.GROUP_JOIN, event => {
      this.assigned = (event.payload.memberAssignment[topic] || []).slice().sort()
    })
    this.consumer.on(this.consumer.events.REBALANCING, () => { this.assigned = [] })
    this.consumer.on(this.consumer.events.CRASH, event => { this.crash = event.payload.restart ? this.crash : event.payload.error })
    this.topic = topic
  }

  async join () {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [this.topic], fromBeginning: true })
    await this.consumer.run({
      eachMessage: async ({ partition, message }) => { this.seen.add(`${partition}/${message.offset}`) },
    })
    return this
  }

  async leave () {
    await this.consumer.disconnect()
  }
}

async function share (...members) {
  await until(`${members.length} members share`, () => {
    for (const member of members) if (member.crash) throw member.crash
    const together = members.flatMap(member => member.assigned).sort()
    return members.every(member => member.assigned.length > 0) && isDeepStrictEqual(together, [...Array(PARTITIONS).keys()])
  })
}

async function groupRebalance () {
  const topic = await create('js-group', PARTITIONS)
  const first = await new Member('js-group', topic).join()
  await share(first)
  const second = await new Member('js-group', topic).join()
  await share(first, second)
  for (let partition = 0; partition < PARTITIONS; partition++) await produce(topic, simple(10, partition))
  await until('all records', () => new Set([...first.seen, ...second.seen]).size === 60)
  await first.leave()
  await share(second)
  await second.leave()
}

async function groupOffsets () {
  const topic = await create('js-committed')
  await produce(topic, simple(20))
  const first = kafka().consumer({ groupId: 'js-committed', sessionTimeout: 6000, heartbeatInterval: 500 })
  await first.connect()
  await first.subscribe({ topics: [topic], fromBeginning: true })
  const seen = []
  await first.run({ autoCommit: false, eachMessage: async one => { seen.push(one) } })
  await until('messages', () => seen.length === 20)
  await first.commitOffsets([{ topic, partition: 0, offset: '12', metadata: 'note' }])
  await first.disconnect()
  const [again] = await consume(topic, 1, { groupId: 'js-committed' })
  equal(again.message.offset, '12', 'where a new member goes on')
}

async function configsOf (admin, type, name) {
  const found = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type, name }] })
  return Object.fromEntries(found.resources[0].configEntries.map(one => [one.configName, one.configValue]))
}

async function describeConfigs () {
  const topic = await create('js-configs', 1, [{ name: 'retention.ms', value: '12345000' }])
  await withAdmin(async admin => {
    const got = await configsOf(admin, ConfigResourceTypes.TOPIC, topic)
    equal([got['retention.ms'], got['cleanup.policy']], ['12345000', 'delete'], 'configs')
    const broker = await configsOf(admin, ConfigResourceTypes.BROKER, Object.keys(BROKERS)[0])
    isTrue(Object.keys(broker).length > 0, 'the broker has configs')
  })
}

async function alterConfigs () {
  const topic = await create('js-alter')
  await withAdmin(async admin => {
    await admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: 'retention.ms', value: '777000' }] }],
    })
    await until('the new value', async () => (await configsOf(admin, ConfigResourceTypes.TOPIC, topic))['retention.ms'] === '777000')
  })
}

async function createPartitions () {
  const topic = await create('js-partitions')
  await withAdmin(async admin => {
    await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
    await until('four partitions', async () => {
      try {
        return (await described(admin, topic)).partitions.length === 4
      } catch (error) {
        // KafkaJS has no metadata at all (null) while a new partition has no leader yet.
        if (!error.message.includes('topicMetadata')) throw error
        return false
      }
    })
  })
  await produce(topic, simple(5, 3))
  const got = await consume(topic, 5)
  equal(got.map(one => [one.partition, one.message.value.toString()]), numbered('v', 0, 5).map(v => [3, v]), 'records')
}

async function deleteRecords () {
  const topic = await create('js-delete-records')
  await produce(topic, simple(50))
  await withAdmin(async admin => {
    // KafkaJS looks for the leaders before it asks for the topic, so something else has to make it known.
    await admin.fetchTopicOffsets(topic)
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '30' }] })
  })
  equal((await consume(topic, 20)).map(one => one.message.offset), numbered('', 30, 50), 'offsets that are left')
}

async function finishedGroup (group) {
  const topic = await create(group)
  await produce(topic, simple(10))
  await consume(topic, 10, { groupId: group })
}

const groupNames = async admin => (await admin.listGroups()).groups.map(one => one.groupId)

async function listGroups () {
  await finishedGroup('js-list')
  await withAdmin(async admin => isTrue((await groupNames(admin)).includes('js-list'), 'the group is listed'))
}

async function describeGroups () {
  const topic = await create('js-describe', PARTITIONS)
  const member = await new Member('js-describe', topic, { clientId: 'somebody' }).join()
  await share(member)
  await withAdmin(async admin => {
    const [got] = (await admin.describeGroups(['js-describe'])).groups
    equal([got.state, got.members.map(one => one.clientId)], ['Stable', ['somebody']], 'state and members')
  })
  await member.leave()
}

async function deleteGroups () {
  await finishedGroup('js-delete-group')
  await withAdmin(async admin => {
    await admin.deleteGroups(['js-delete-group'])
    isTrue(!(await groupNames(admin)).includes('js-delete-group'), 'the group is gone')
  })
}

async function alterGroupOffsets () {
  await finishedGroup('js-alter-group')
  await withAdmin(admin => admin.setOffsets({
    groupId: 'js-alter-group', topic: 'js-alter-group', partitions: [{ partition: 0, offset: '4' }],
  }))
  equal(await groupOffset('js-alter-group', 'js-alter-group'), '4', 'offset')
}

async function acls () {
  const pattern = { resourceType: AclResourceTypes.TOPIC, resourceName: 'js-acl', resourcePatternType: ResourcePatternTypes.LITERAL }
  const acl = {
    ...pattern, principal: 'User:somebody', host: '*', operation: AclOperationTypes.READ, permissionType: AclPermissionTypes.ALLOW,
  }
  const filter = { ...pattern, operation: AclOperationTypes.ANY, permissionType: AclPermissionTypes.ANY }
  await withAdmin(async admin => {
    equal(await admin.createAcls({ acl: [acl] }), true, 'created')
    const count = async () => (await admin.describeAcls(filter)).resources.flatMap(one => one.acls).length
    await until('the ACL', async () => await count() === 1)
    const deleted = await admin.deleteAcls({ filters: [filter] })
    equal(deleted.filterResponses[0].matchingAcls.length, 1, 'deleted')
    await until('no ACL', async () => await count() === 0)
  })
}

async function deleteTopic () {
  const topic = await create('js-delete')
  await withAdmin(async admin => {
    await admin.deleteTopics({ topics: [topic] })
    await until('it is gone', async () => !(await admin.listTopics()).includes(topic))
  })
}

async function largeRecord () {
  const topic = await create('js-large')
  const value = crypto.randomBytes(900 * 1024)
  await produce(topic, [{ partition: 0, value }])
  isTrue((await consume(topic, 1))[0].message.value.equals(value), 'the value is as it was sent')
}

async function tombstones () {
  const topic = await create('js-tombstones')
  const sent = [['a', null], ['b', ''], [null, 'c'], ['', 'd']]
  await produce(topic, sent.map(([key, value]) => ({ partition: 0, key, value })))
  const got = (await consume(topic, sent.length)).map(one => [one.message.key, one.message.value].map(it => it && it.toString()))
  equal(got, sent, 'keys and values')
}

async function unknownTopic () {
  await withAdmin(async admin => fails(admin.fetchTopicMetadata({ topics: ['js-nowhere'] }), 'UNKNOWN_TOPIC_OR_PARTITION', 'describing it'))
  const sent = produce('js-nowhere', [{ value: 'x' }], { retry: { retries: 1 } })
  await fails(sent, 'UNKNOWN_TOPIC_OR_PARTITION', 'producing to it')
}

async function roundTrip (topic) {
  await create(topic)
  await produce(topic, simple(10))
  equal(values(await consume(topic, 10)), numbered('v', 0, 10), 'values')
}

const user = mechanism => process.env[mechanism === 'scram-sha-512' ? 'HOPWISE_USER_512' : 'HOPWISE_USER']

const sasl = mechanism => async () => {
  security = { sasl: { mechanism, username: user(mechanism), password: process.env.HOPWISE_PASSWORD } }
  await roundTrip(`js-${mechanism}`)
}

async function saslWrongPassword () {
  for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512']) {
    security = { sasl: { mechanism, username: user(mechanism), password: 'wrong' }, retry: { retries: 0 } }
    try {
      await withAdmin(async () => {})
    } catch (error) {
      isTrue(/SASL/i.test(`${error.name} ${error.message}`), `${mechanism}: ${error.name} ${error.message}`)
      continue
    }
    throw new Error(`${mechanism}: a wrong password is let in`)
  }
}

async function tls () {
  security = { ssl: { ca: [fs.readFileSync(process.env.HOPWISE_CA)] } }
  await roundTrip('js-tls')
}

async function restartWrite () {
  const topic = await create('js-restart')
  await produce(topic, simple(20))
  await withAdmin(admin => admin.setOffsets({ groupId: 'js-restart', topic, partitions: [{ partition: 0, offset: '12' }] }))
}

async function restartRead () {
  equal(values(await consume('js-restart', 8, { groupId: 'js-restart' })), numbered('v', 12, 20), 'where the group goes on')
  equal(values(await consume('js-restart', 20)), numbered('v', 0, 20), 'values')
}

const MODES = {
  plain: {
    metadata, 'create-topic': createTopic, 'produce-fetch': produceFetch, 'codec-none': codec(CompressionTypes.None),
    'codec-gzip': codec(CompressionTypes.GZIP), 'codec-snappy': codec(CompressionTypes.Snappy),
    'codec-lz4': codec(CompressionTypes.LZ4), 'codec-zstd': codec(CompressionTypes.ZSTD),
    'idempotent-producer': idempotentProducer, 'transaction-commit': transactionCommit,
    'transaction-abort': transactionAbort, 'transaction-offsets': transactionOffsets, 'list-offsets': listOffsets,
    'out-of-range-reset': outOfRangeReset, 'fetch-session': 'the client does not use fetch sessions',
    'group-rebalance': groupRebalance, 'group-static': 'the client has no static members',
    'group-cooperative': 'the client has no cooperative assignor', 'group-offsets': groupOffsets,
    'describe-configs': describeConfigs, 'alter-configs': alterConfigs, 'create-partitions': createPartitions,
    'delete-records': deleteRecords, 'list-groups': listGroups, 'describe-groups': describeGroups,
    'delete-groups': deleteGroups, 'alter-group-offsets': alterGroupOffsets, acls,
    'scram-users': 'the client has no SCRAM user requests', 'delete-topic': deleteTopic, 'large-record': largeRecord,
    tombstones, 'unknown-topic': unknownTopic, 'describe-cluster': 'the client describes the cluster by Metadata',
    'kip-848': 'the client does not speak KIP-848',
  },
  sasl: {
    'sasl-plain': sasl('plain'), 'sasl-scram-sha-256': sasl('scram-sha-256'), 'sasl-scram-sha-512': sasl('scram-sha-512'),
    'sasl-wrong-password': saslWrongPassword,
  },
  tls: { tls },
  'restart-write': { 'restart-write': restartWrite },
  'restart-read': { 'restart-read': restartRead },
}

function say (check, outcome, detail) {
  console.log(`${check}\t${outcome}\t${String(detail).split(/\s+/).join(' ').slice(0, 500)}`)
}

async function main () {
  const [mode = 'plain', ...only] = process.argv.slice(2)
  for (const [name, check] of Object.entries(MODES[mode] || {})) {
    if (only.length > 0 && !only.includes(name)) continue
    if (typeof check === 'string') {
      say(name, 'n/a', check)
      continue
    }
    const late = sleep(120000).then(() => { throw new Error('it hangs: not ended after two minutes') })
    late.catch(() => {})
    try {
      await Promise.race([check(), late])
      say(name, 'pass', '')
    } catch (error) {
      say(name, 'fail', `${error.name}: ${error.message}`)
    }
  }
}

main().then(() => process.exit(0), error => { console.error(error); process.exit(1) })
