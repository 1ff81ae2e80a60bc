#!/usr/bin/env node
// A browser with nobody in front of it: goes to the address that it is given, and wherever that leads.

const response = await fetch(process.argv[2], { redirect: 'follow' });
await response.arrayBuffer();
