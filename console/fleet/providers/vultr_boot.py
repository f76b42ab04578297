"""What a Vultr machine runs at its first boot: cloud-init user data, readable by all who have the key."""

import base64
import json
from typing import Any

from console.fleet.model import VOLUME_PENDING

VOLUME_MOUNT = "/workspace"
"""Where a block volume appears on the box."""
_ONSTART = "/var/lib/ups/onstart.sh"
_MOUNT = "/var/lib/ups/mount-volume.sh"

# The volume is attached once the machine runs. One that has a file system already is never formatted.
_MOUNT_SCRIPT = f"""#!/bin/sh
disk=$1
tries=0
while [ ! -b "$disk" ]; do
    tries=$((tries + 1))
    [ "$tries" -gt 1800 ] && exit 1
    sleep 1
done
blkid "$disk" >/dev/null 2>&1 || mkfs.ext4 -q "$disk"
mkdir -p {VOLUME_MOUNT}
grep -q "^$disk " /etc/fstab || echo "$disk {VOLUME_MOUNT} ext4 defaults,nofail 0 2" >>/etc/fstab
mount "$disk" {VOLUME_MOUNT} && rm -f {VOLUME_PENDING}
"""


def user_data(onstart: str, *, label: str, mount_id: str | None, key_only: bool) -> str:
    """Base64 of a cloud-config that mounts a volume and runs `onstart` as root.

    Everything it starts carries `UPS_INSTANCE={label}`.

    Args:
        onstart: a shell script.
        label: of the instance.
        mount_id: Vultr's name for the volume's disk; None where there is no volume.
        key_only: passwords open nothing.
    """
    config: dict[str, Any] = {"write_files": [], "runcmd": []}
    if key_only:
        config["ssh_pwauth"] = False
    if mount_id is not None:
        # Files are written before sshd starts, commands run long after.
        config["write_files"].append({"path": VOLUME_PENDING, "content": ""})
        config["write_files"].append({"path": _MOUNT, "permissions": "0700", "content": _MOUNT_SCRIPT})
        config["runcmd"].append(["sh", _MOUNT, f"/dev/disk/by-id/virtio-{mount_id}"])
    if onstart:
        config["write_files"].append({"path": _ONSTART, "permissions": "0700", "content": onstart})
        config["runcmd"].append(["env", f"UPS_INSTANCE={label}", "sh", _ONSTART])
    # JSON is YAML, and leaves no question of quoting or indentation.
    return base64.b64encode(f"#cloud-config\n{json.dumps(config)}\n".encode()).decode()
