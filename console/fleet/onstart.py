"""The script that a rented box runs first: it makes the box's directory and starts its dead-man.

The dead-man is there before the console has ever reached the box. It destroys the instance with the
instance's own key (on a provider without such keys it halts the machine, which still bills) when

- nobody has handed the box to a real watchdog within the first `takeover_s`,
- the deadline has come and no watchdog lives,
- the deadline has passed by an hour, whether a watchdog lives or not.

Where a watchdog was there and died, it is started again. Providers show the script to whoever may list
the account's instances, so no secret is in it: the key is taken from the container's environment.

Time is counted from the start of the script on a clock that nobody sets; the wall clock is asked once,
and not believed where it lies before the script was written or, at the first start, after the deadline.
"""

import re
import shlex

from console.fleet.model import Label
from ups.errors import UsageError

LIMIT = 4096
"""Characters that Vast.ai takes, the arguments of the image included."""
TAKEOVER_S = 2700.0
"""Creating, pulling an image and shipping take no longer; after it a box that nobody has reached ends."""
KEY_FILE = "instance.key"
"""In the box's directory, 0600: the instance's own key."""

_SCRIPT = """\
#!/bin/sh
# ups-console: starts what ends this machine when nobody else does
umask 077
B=@BOX@
export UPS_INSTANCE=@LABEL@
[ -d "$B" ] && F=0 || F=1
mkdir -p "$B"
touch "${HOME:-/root}/.no_auto_tmux"
cd "$B" || cd /
@KEY@L=$B/deadman.log
: >>"$L" || L=/dev/null
P= S=$(command -v setsid)
for p in python3 /opt/conda/bin/python3 /venv/main/bin/python3 /usr/bin/python3; do
[ -n "$P" ] || P=$(command -v "$p")
done
if [ -n "$P" ]; then
$S "$P" -c '@PYTHON@' "$B" $F >>"$L" 2>&1 </dev/null &
else
$S sh -c 'sleep @TAKEOVER@
while :; do @SHELL_END@
sleep 60; done' >>"$L" 2>&1 </dev/null &
fi
"""

_KEY = """\
e() { tr '\\0' '\\n' </proc/1/environ 2>/dev/null | sed -n "s/^$1=//p"; }
: ${CONTAINER_API_KEY:=$(e CONTAINER_API_KEY)} ${CONTAINER_ID:=$(e CONTAINER_ID)}
: ${CONTAINER_ID:=${VAST_CONTAINERLABEL#C.}}
export CONTAINER_API_KEY CONTAINER_ID
printf %s "$CONTAINER_API_KEY" >"$B/@KEY_FILE@"
"""

_PYTHON = """\
import fcntl,json,os,random,signal,subprocess as s,sys,time
from urllib import request as r
B,F=sys.argv[1:]
R,D,T=@WRITTEN@,@DEADLINE@,@TAKEOVER@
signal.signal(signal.SIGHUP,signal.SIG_IGN)
c=lambda:time.clock_gettime(getattr(time,"CLOCK_BOOTTIME",time.CLOCK_MONOTONIC))
w=time.time()
n=w if w>=R and (w<=D or F=="0") else R
o=c()
def log(*a):
 try:print(int(time.time()),*a,flush=True)
 except OSError:pass
def held():
 try:f=open(B+"/watchdog.lock","a")
 except OSError:return False
 with f:
  try:fcntl.flock(f,fcntl.LOCK_SH|fcntl.LOCK_NB)
  except OSError:return True
 return False
def end():
@PYTHON_END@
taken=os.path.exists(B+"/box.json")
again=0
while 1:
 t=c()-o
 h=held()
 taken=taken or h
 d=D
 try:d=max(d,json.load(open(B+"/box.json"))["deadline"])
 except Exception:pass
 if n+t>=d+3600*h or t>=T and not taken:break
 if taken and not h and t>=again:
  again=t+60
  try:s.Popen([sys.executable,B+"/watchdog.py",B],start_new_session=True);log("watchdog started again")
  except Exception as x:log(x)
 time.sleep(@POLL@)
p=2
log("nobody else ends this box")
while 1:
 try:log(end())
 except Exception as x:log(x)
 time.sleep(p*random.uniform(.8,1.2))
 p=min(p*2,300)
"""

_VAST_END = """\
 k=os.environ.get("CONTAINER_API_KEY") or open(B+"/@KEY_FILE@").read()
 q=r.Request("@URL@/api/v0/instances/"+os.environ["CONTAINER_ID"]+"/",b"{}",{"Authorization":"Bearer "+k,\
"Content-Type":"application/json"},method="DELETE")
 return "destroy",r.urlopen(q,timeout=20).status"""

_HALT_END = """\
 return "halt, still billing",s.call((os.environ.get("UPS_REMOTE_HALT") or "shutdown -P now").split())"""

_VAST_SHELL_END = """\
printf "header = \\"Authorization: Bearer %s\\"" "$CONTAINER_API_KEY" | \
curl -sS -m 20 -K - -X DELETE -d "{}" -H Content-Type:application/json \
"@URL@/api/v0/instances/$CONTAINER_ID/\""""

_HALT_SHELL_END = "${UPS_REMOTE_HALT:-shutdown -P now}"


def render(
    label: Label,
    *,
    box: str,
    written: float,
    url: str | None,
    takeover_s: float = TAKEOVER_S,
    poll_s: float = 5.0,
) -> str:
    """The script of one box.

    Args:
        label: its deadline is the dead-man's.
        box: the box's directory on the instance, absolute.
        written: now, in Unix seconds.
        url: the provider's API, without a path, which takes the instance's own key; None where there is no
            such key: the machine is halted instead.
        takeover_s: a box without a watchdog by then ends.
        poll_s: seconds between two looks.

    Raises:
        UsageError: the directory or the address cannot be used in a script, or makes it too long.
    """
    if not box.startswith("/") or not box.isprintable():
        raise UsageError(f"{box!r} is no directory for a box", hint="UPS_REMOTE_WORKDIR is an absolute path")
    if url is not None and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+", url):
        raise UsageError(f"{url!r} is no address of an API", hint="VAST_URL is https://host, without a path")
    python_end, shell_end = (_HALT_END, _HALT_SHELL_END) if url is None else (_VAST_END, _VAST_SHELL_END)
    script = _SCRIPT
    for name, value in (
        ("@PYTHON@", _PYTHON.strip()),
        ("@KEY@", "" if url is None else _KEY),
        ("@PYTHON_END@", python_end),
        ("@SHELL_END@", shell_end),
        ("@KEY_FILE@", KEY_FILE),
        ("@URL@", url or ""),
        ("@WRITTEN@", str(int(written))),
        ("@DEADLINE@", str(label.deadline)),
        ("@TAKEOVER@", str(int(takeover_s))),
        ("@POLL@", f"{poll_s:g}"),
        ("@LABEL@", str(label)),
        ("@BOX@", shlex.quote(box)),
    ):
        script = script.replace(name, value)
    if len(script) > LIMIT:
        raise UsageError(f"the start script has {len(script)} characters, {LIMIT} at most",
                         hint="a shorter UPS_REMOTE_WORKDIR helps")  # fmt: skip
    return script
