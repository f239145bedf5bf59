#!/bin/bash
# root.sh ROOT [SOURCE TARGET]...: make ROOT the root of these (new) namespaces, with the directories SOURCE of the host
# bound to its TARGETs; print "ready", and be their PID 1, which reaps what is left to it, until standard input ends.
set -euo pipefail

root=$1
shift
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
# Nodes of its own: setup gives /dev/kvm to a group, whose number is another group's on the host.
mount -t tmpfs -o mode=755 tmpfs dev
cp --archive --one-file-system /dev/. dev
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -sfn pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir -m 1777 run/lock
while [ $# -gt 0 ]; do
    mkdir -p "$2"
    mount --bind "$1" "$2"
    shift 2
done
ip link set lo up
pivot_root . mnt
umount -l /mnt
cd /
echo ready
read -r || true
