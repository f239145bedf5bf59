"""Files in volumes: the users that may make them, and what they carry beside their content."""

from tests.parity.behaviour import Behaviour

ROOT = {"run_as_user": {"value": 0}}
PRIVILEGED = {**ROOT, "privileged": True}
MEMBER = {"run_as_user": {"value": 1002}, "run_as_group": {"value": 1002}, "supplemental_groups": [1001]}
"""The user of a pod with runAsUser 1002 and fsGroup 1001."""

_ITEM_2, _ITEM_4 = "issue 10, item 2 (StatefulSets with fsGroup)", "issue 10, item 4"
_OVERLAY = "docker, podman, buildah and kaniko in a pod (issue 10, item 4)"
_AS = "as-user --reuid"
_USER = f"{_AS}=1000 --clear-groups"
_STAT = "stat -c '%n %F %u:%g %a %h'"
_CAPABLE = "cp /usr/bin/busybox grep; setcap cap_net_raw+ep grep; getcap grep; "
_TELL = f"{_USER} ./grep CapEff /proc/self/status; "
_LAYERS = "mkdir lower lower/gone lower/kept upper work merged; echo below >lower/kept/file; echo x >lower/file; "
_MERGE = "mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged; "

GROUPS = (
    Behaviour(
        "a supplementary group makes files of every kind in a volume", _ITEM_2,
        f"cd /v; touch f; mkdir d; ln -s f l; mkfifo p; ln f h; touch d/below; {_STAT} * d/below",
        volumes=("/v",), security=MEMBER, owner=(0, 1001, 0o2770),
    ),
    Behaviour(
        "a supplementary group renames, truncates and removes in a volume", _ITEM_2,
        "cd /v; rm file; echo a >a; mv a b; echo more >>b; cat b; : >b; stat -c %s b; rm b; ls",
        volumes=("/v",), security=MEMBER, owner=(0, 1001, 0o2770),
    ),
    Behaviour(
        "who is in no group of a volume makes nothing in it", _ITEM_2, "touch /v/f; mkdir /v/d; ls /v",
        volumes=("/v",), security={**MEMBER, "supplemental_groups": [1003]}, owner=(0, 1001, 0o2770),
    ),
    Behaviour(
        "a user owns what he makes in another one's volume", "open(2), BSD groups",
        f"cd /v; echo x >a; mkdir d; {_STAT} a d", volumes=("/v",), security=MEMBER, owner=(33, 44, 0o777),
    ),
    Behaviour(
        "a directory's group is inherited with its bit", "mkdir(2), set-group-ID",
        f"cd /v; mkdir g; chgrp 1001 g; chmod 2775 g; touch g/f; mkdir g/d; {_STAT} g g/f g/d",
        volumes=("/v",), security=ROOT,
    ),
    Behaviour(
        "only the owner removes from a sticky directory", "unlink(2), EPERM",
        f"cd /v; mkdir -m 1777 t; touch t/f; {_USER} rm -f t/f; ls t",
        volumes=("/v",), security=ROOT,
    ),
)  # fmt: skip

ATTRIBUTES = (
    Behaviour(
        "attributes of users", _ITEM_4,
        "", exec="setfattr -n user.a -v 1 file; setfattr -n user.b -v 2 file; setfattr -n user.d -v 3 .; "
        "setfattr -x user.b file; ln file other; mv file moved; getfattr -d . moved other; getfattr -n user.b moved",
        volumes=("/v",),
    ),
    Behaviour(
        "attributes of users are of files and directories alone", "xattr(7)",
        "", exec="ln -s file l; mkfifo p; setfattr -h -n user.a -v 1 l; setfattr -n user.a -v 1 p",
        volumes=("/v",), security=ROOT,
    ),
    Behaviour(
        "a large attribute", "xattr(7), ext4",
        "", exec="setfattr -n user.a -v $(printf %02000d 0) file && getfattr -d file | wc -c; "
        "setfattr -n user.a -v $(printf %070000d 0) file", volumes=("/v",),
    ),
    Behaviour(
        "attributes of the administrator", _ITEM_4,
        "", exec="setfattr -n trusted.a -v 1 file; setfattr -n trusted.d -v 2 .; getfattr -d -m - . file; "
        f"{_USER} getfattr -n trusted.a file; {_USER} setfattr -n trusted.a -v 2 file; setfattr -x trusted.a file; "
        "getfattr -d -m - file", volumes=("/v",), security=PRIVILEGED,
    ),
    Behaviour(
        "names of the administrator's attributes", "listxattr(2), ext4",
        "", exec=f"setfattr -n trusted.a -v 1 file; {_USER} getfattr -d -m - file", volumes=("/v",),
        security=PRIVILEGED,
        differs="every user can list the names of trusted.* attributes, because FUSE does not filter names; only the "
        "administrator can read the values",
    ),
    Behaviour(
        "attributes of the administrator on links", "xattr(7)",
        "", exec="ln -s file l; setfattr -h -n trusted.a -v 1 l; getfattr -h -d -m - l", volumes=("/v",),
        security=PRIVILEGED,
        differs="refused (EPERM) on a symbolic link, a device or a FIFO: trusted.* is stored as user.* on the host, "
        "and there only files and directories can have user.*",
    ),
    Behaviour(
        "attributes below user.virtiofs", _ITEM_4,
        "", exec="setfattr -n user.virtiofs.trusted.a -v 1 file; getfattr -d -m - file", volumes=("/v",),
        security=ROOT,
        differs="refused (EPERM): virtiofsd stores trusted.* and security.* under these names, and an ordinary user "
        "must not be able to create those",
    ),
)  # fmt: skip

CAPABILITIES = (
    Behaviour(
        "a file of a volume has capabilities", f"{_ITEM_4}; capabilities(7)",
        "", exec=f"{_CAPABLE} {_TELL} cp --preserve=all grep b; ln grep l; mv grep m; getcap b l m",
        volumes=("/v",), security=ROOT,
    ),
    Behaviour(
        "a file that is written or given away loses its capabilities", "capabilities(7)",
        "", exec=f"{_CAPABLE} echo >>grep; getcap grep; {_TELL} setcap cap_net_raw+ep grep; chown 1000 grep; "
        "getcap grep; setcap cap_net_raw+ep grep; setfattr -n user.a -v 1 grep; chmod 700 grep; getcap grep; "
        ": >grep; getcap grep",
        volumes=("/v",), security=ROOT,
    ),
    Behaviour(
        "a file that another user writes or root gives away loses its set-user-id bit", "inode(7), chown(2)",
        "", exec=f"cp /usr/bin/busybox a; chmod 6777 a; {_USER} sh -c 'echo >>a'; stat -c %a a; "
        f"chmod 6777 a; {_USER} truncate -s 5 a; stat -c %a a; "
        "chmod 6777 a; chown 5:5 a; stat -c %a a", volumes=("/v",), security=ROOT,
    ),
)  # fmt: skip

ACLS = (
    Behaviour(
        "an ACL lets a user in", "acl(5)",
        "", exec="echo x >f; chmod 600 f; setfacl -m u:1000:rw f; getfacl -cn f; stat -c %a f; "
        f"{_USER} sh -c 'cat f; echo y >>f'; as-user --reuid=1001 --clear-groups cat f; "
        f"chmod 640 f; {_USER} sh -c 'echo z >>f'; getfacl -cn f; setfacl -b f; getfacl -cn f",
        volumes=("/v",), security=ROOT,
    ),
    Behaviour(
        "what is made takes the default ACL instead of the umask", "acl(5)",
        "", exec="mkdir d; setfacl -d -m u:1000:rwx,g::rx,o::- d; umask 077; touch d/f; mkdir d/e; umask 022; touch g; "
        "getfacl -cn d/f d/e g", volumes=("/v",), security=ROOT,
    ),
    Behaviour(
        "an ACL lets users and their first group make files", "acl(5)",
        "", exec=f"mkdir -m 700 d; setfacl -m u:1000:rwx,g:1003:rwx d; {_USER} touch d/f; "
        f"{_AS}=5 --regid=1003 --clear-groups touch d/g; {_AS}=5 --regid=1 --clear-groups touch d/h; "
        f"{_STAT} d/*", volumes=("/v",), security=ROOT,
    ),
    Behaviour(
        "an ACL lets a supplementary group make files", "acl(5); FUSE_CREATE_SUPP_GROUP of the kernel",
        "", exec="mkdir -m 700 d; setfacl -m g:1001:rwx d; as-user --reuid=1002 --regid=1002 --groups=1001 touch d/f; "
        f"{_STAT} d/*", volumes=("/v",), security=ROOT,
    ),
)  # fmt: skip

OVERLAYS = (
    Behaviour(
        "an overlay has its upper directory on a volume", _OVERLAY,
        "", exec=f"{_LAYERS} {_MERGE} echo new >merged/new; echo more >>merged/kept/file; rm merged/file; "
        "rmdir merged/gone; mkdir merged/gone; ln merged/new merged/linked; chown 5:5 merged/kept/file; "
        f"cat merged/kept/file; ls -R merged; umount merged; cd upper; {_STAT}' %t:%T' * kept/*; "
        "getfattr -n trusted.overlay.opaque gone; cd ..; ls lower; " + _MERGE + "ls -R merged; umount merged",
        volumes=("/v",), security=PRIVILEGED,
    ),
    Behaviour(
        "files of an overlay on a volume have capabilities and attributes", _OVERLAY,
        "", exec=f"{_LAYERS} cd lower; {_CAPABLE} setfattr -n user.a -v 1 file; cd ..; {_MERGE} cd merged; "
        f"{_TELL} chmod 700 file; getfattr -d file; cp grep other; chown 5 other; setcap cap_chown+ep other; "
        "setfattr -n user.b -v 2 other; getcap *; cd ..; umount merged; getcap upper/*; getfattr -d upper/*",
        volumes=("/v",), security=PRIVILEGED,
    ),
    Behaviour(
        "a file with capabilities is copied up in an overlay on a volume", _OVERLAY,
        "", exec=f"{_LAYERS} cd lower; {_CAPABLE} cd ..; {_MERGE} cd merged; chmod 755 grep; getcap grep; {_TELL}"
        "cd ..; umount merged", volumes=("/v",), security=PRIVILEGED,
        differs="a file of a lower layer loses its capabilities when its mode, owner or name changes: the overlay "
        "sets the owner of its copy after the capabilities. Over virtio-fs that is a chown, which removes them",
    ),
    Behaviour(
        "a rename can leave a whiteout, and exchange two files", "rename(2): RENAME_WHITEOUT, RENAME_EXCHANGE",
        "", exec="echo a >a; echo b >b; files rename 4 a c; stat -c '%F %t:%T' a; cat c; files rename 2 b c; cat b c; "
        "files rename 1 b c; cat b c", volumes=("/v",), security=ROOT,
    ),
    Behaviour(
        "a file without a name", f"{_ITEM_4}; open(2), O_TMPFILE",
        "", exec="files tmpfile . f && cat f; stat -c '%a %h' f", volumes=("/v",), security=ROOT,
        differs="O_TMPFILE in a volume fails with EOPNOTSUPP, because virtiofsd (1.13 and 1.14) does not support it; "
        "programs then create a file with a name. A volume of medium Memory is a tmpfs, which supports it",
    ),
)  # fmt: skip

OTHERS = (
    Behaviour(
        "device nodes in a volume", "mknod(2)",
        "", exec="mknod -m 666 null c 1 3; mknod zero c 1 5; stat -c '%F %t:%T %a' *; echo x >null; "
        "head -c 4 zero | wc -c", volumes=("/v",), security=ROOT,
    ),
    Behaviour(
        "a file of a volume shrinks and grows", "truncate(2)",
        "", exec="dd if=/dev/zero bs=64k count=4 of=f 2>/dev/null; sync f; stat -c '%s %b' f; "
        "truncate -s 65536 f; truncate -s 1048576 f; sync f; stat -c '%s %b' f", volumes=("/v",),
    ),
    Behaviour(
        "many links, and a long path", "link(2), path_resolution(7)",
        "", exec="for i in $(seq 200); do ln file l$i; done; stat -c %h file; d=$(printf %0200d 0); "
        "for i in 1 2 3 4 5; do mkdir $d; cd $d; done; touch f; ls; rm f; cd /v; rm -r $d; ls | wc -l", volumes=("/v",),
    ),
)  # fmt: skip

VOLUME_FILES = (*GROUPS, *ATTRIBUTES, *CAPABILITIES, *ACLS, *OVERLAYS, *OTHERS)
