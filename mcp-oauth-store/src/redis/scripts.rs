//! What Redis runs as a script, because it takes more than one command and has to be atomic.
//!
//! A script touches the one key that it is given and nothing else, so it runs on any node of a Cluster. The text of
//! each is a constant; keys and values come as arguments and are never part of it. Redis is asked to run a script by
//! its hash; where it does not know it (a new node, a restart, `SCRIPT FLUSH`), the same call is sent once more with the
//! text, which that node then remembers.

use std::sync::OnceLock;

use redis::Cmd;

/// A script, as it is written and as Redis knows it.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    const fn new(text: &'static str) -> Self {
        Self {
            text,
            hash: OnceLock::new(),
        }
    }

    fn hash(&self) -> &str {
        self.hash
            .get_or_init(|| redis::Script::new(self.text).get_hash().to_owned())
    }
}

/// Replaces a record that still is as expected.
///
/// `KEYS[1]`, then: what is expected, the mark of this write, the record, its time to live in milliseconds or nothing.
pub(super) static COMPARE_AND_SET: Script = Script::new(
    r"
local stored = redis.call('GET', KEYS[1])
if not stored then return 0 end
if string.sub(stored, 1, #ARGV[2]) == ARGV[2] then return 1 end
if string.byte(stored, 1) == 64 then stored = string.sub(stored, #ARGV[2] + 1) end
if stored ~= ARGV[1] then return 0 end
if ARGV[4] == '' then
  redis.call('SET', KEYS[1], ARGV[2] .. ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2] .. ARGV[3], 'PX', ARGV[4])
end
return 1",
);

/// Adds one to a number, which lives from its first addition on.
///
/// `KEYS[1]`, then: its time to live in milliseconds.
pub(super) static INCREMENT: Script = Script::new(
    r"
redis.call('SET', KEYS[1], 0, 'PX', ARGV[1], 'NX')
return redis.call('INCR', KEYS[1])",
);

/// Appends to the feed, and drops from its front what no entry has to stay readable for.
///
/// `KEYS[1]`, then: the entry, its time to live in milliseconds. Each entry carries the longest time to live of all that
/// were readable when it came, so that one which lives shortly never takes those along which live longer.
pub(super) static PUBLISH: Script = Script::new(
    r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local keep = tonumber(ARGV[2])
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then
  local published = tonumber(string.match(last[1], '^%d+'))
  local kept = tonumber(last[2][4])
  if kept and kept > keep and now <= published + kept then keep = kept end
end
local id = redis.call('XADD', KEYS[1], 'MINID', '~', string.format('%.0f', math.max(now - keep, 0)), '*',
  'entry', ARGV[1], 'keep', string.format('%.0f', keep))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', keep + 1000))
return id",
);

/// Reads a record and how many milliseconds it still has; -1 means for ever.
///
/// `KEYS[1]`.
pub(super) static INSPECT: Script = Script::new(
    r"
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}",
);

/// Adds a member to a set, and has the set live as long as its longest-lived member.
///
/// `KEYS[1]`, then: the member, its time to live in milliseconds, how many members there may be.
pub(super) static ADD_MEMBER: Script = Script::new(
    r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[1], 'GT', string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
local over = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[3])
if over > 0 then redis.call('ZPOPMIN', KEYS[1], over) end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(last[2])))",
);

/// Removes a member, and says whether it was there and not over.
///
/// `KEYS[1]`, then: the member.
pub(super) static REMOVE_MEMBER: Script = Script::new(
    r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
if tonumber(score) > now then return 1 end
return 0",
);

/// Reads a page of members that are not over.
///
/// `KEYS[1]`, then: how many, and of the last one that was read the score, or nothing, and the member.
pub(super) static MEMBERS: Script = Script::new(
    r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('ZCOUNT', KEYS[1], '-inf', string.format('%.0f', now))
local first = over
if ARGV[2] ~= '' then
  local score = redis.call('ZSCORE', KEYS[1], ARGV[3])
  local behind
  if score and tonumber(score) == tonumber(ARGV[2]) then
    behind = redis.call('ZRANK', KEYS[1], ARGV[3]) + 1
  else
    behind = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[2])
  end
  if behind > first then first = behind end
end
local read = redis.call('ZRANGE', KEYS[1], first, first + tonumber(ARGV[1]) - 1, 'WITHSCORES')
return {now, redis.call('ZCARD', KEYS[1]) - over, first - over, read}",
);

/// A script with what it is called with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) script: &'static Script,
    pub(super) key: &'a str,
    pub(super) arguments: &'a [&'a [u8]],
}

impl Call<'_> {
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", self.script.hash())
    }

    pub(super) fn by_text(&self) -> Cmd {
        self.command("EVAL", self.script.text)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(self.key);
        for argument in self.arguments {
            command.arg(*argument);
        }
        command
    }
}
