#!/bin/sh
# Runs tests of the numeric crate on an emulated processor with AVX-512, for machines that have none.
#
#     tests/avx512/emulated.sh [FILTER...]        (default: kernels::tests)
#
# Bochs boots a Linux kernel whose only program is the test binary, on one core of Cannon Lake (AVX-512 F, BW, DQ, VL, CD
# and VBMI). It is about two hundred times slower than a real one, so name the tests that are wanted. Needs the Debian
# packages bochs, bochsbios, vgabios, bochs-term, isolinux, syslinux-common, genisoimage, cpio and busybox-static, and
# `apt-get download` for a kernel.
set -eu

cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- kernels::tests

for tool in bochs genisoimage cpio busybox script; do
    command -v "$tool" > /dev/null || { echo "$tool is not installed" >&2; exit 1; }
done

program=$(cargo test --release -p quantizers --lib --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
image=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/ *Depends: //p' | head -1)
(cd "$work" && apt-get download -q -o APT::Sandbox::User=root "$image" > /dev/null && dpkg-deb -x ./*.deb kernel)

# The first program of the machine: prints what the processor has, runs the tests and turns the machine off.
root=$work/root
mkdir -p "$root/bin" "$root/proc" "$root/dev" "$root/tmp" "$work/disc"
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$program" "$root/bin/program"
strip "$root/bin/program"
ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
cat > "$root/init" << END
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox grep -m1 flags /proc/cpuinfo | /bin/busybox tr ' ' '\n' | /bin/busybox grep avx | /bin/busybox tr '\n' ' '
echo
TMPDIR=/tmp RAYON_NUM_THREADS=1 /bin/program --test-threads 1 $*
echo "exit status \$?"
/bin/busybox sleep 3
/bin/busybox poweroff -f
END
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc 2> /dev/null | gzip -1) > "$work/disc/initrd.gz"

# Sizes of saved processor states differ between what Bochs says of compact ones and what Linux expects, and those of
# protection keys: without both, Linux takes AVX-512 from programs.
cp "$work"/kernel/boot/vmlinuz-* "$work/disc/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/disc/"
cat > "$work/disc/isolinux.cfg" << END
default tests
label tests
 kernel vmlinuz
 append initrd=initrd.gz console=ttyS0 loglevel=3 rdinit=/init mitigations=off clearcpuid=515,516,320,321,322,323 random.trust_cpu=on
END
genisoimage -quiet -o "$work/disc.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$work/disc"
cat > "$work/machine" << END
cpu: model=corei3_cnl, count=1, ips=100000000, reset_on_triple_fault=1
memory: guest=1024, host=1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/said
display_library: term
log: $work/log
panic: action=fatal
clock: sync=none
END
# Debian's Bochs stops in its debugger first.
echo c > "$work/commands"
TERM=vt100 script -qec "bochs -q -f $work/machine -rc $work/commands" /dev/null < /dev/null > "$work/screen" 2>&1 || true
cat "$work/said"
# Without the instructions the other kernels would pass alone.
grep -q '^avx.* avx512vbmi' "$work/said" || { echo "the emulated machine hides AVX-512" >&2; exit 1; }
grep -q '^exit status 0' "$work/said"
