"use strict";
// Reads blocks of registers and prints their words.
// Standard input: {"port": 502, "unit": 1, "over": "tcp", "blocks": [[3, 40000, 2], …]}, a block
// being function, address, count. Standard output: a list of words a block, all as one JSON list.
const { readFileSync } = require("node:fs");
const ModbusRTU = require("modbus-serial");

const HOST = "127.0.0.1";
const PATIENCE_MS = 30000;

async function main() {
  const { port, unit, over, blocks } = JSON.parse(readFileSync(0, "utf8"));
  const client = new ModbusRTU();
  client.setTimeout(PATIENCE_MS);
  // RTU frames in a TCP stream are what this library calls telnet.
  if (over === "tcp") await client.connectTCP(HOST, { port });
  else await client.connectTelnet(HOST, { port });
  client.setID(unit);
  const words = [];
  for (const [code, address, count] of blocks) {
    const read = code === 3 ? "readHoldingRegisters" : "readInputRegisters";
    words.push((await client[read](address, count)).data);
  }
  await new Promise((closed) => client.close(closed));
  console.log(JSON.stringify(words));
}

main().catch((problem) => {
  console.error(problem);
  process.exit(1);
});
