#!/usr/bin/env bash
# An installed velta can be used: the merged header stands alone in strict C and C++, pkg-config names what a program
# needs, the library links next to a program that has names of velta's inside, and the command runs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset MAKEFLAGS MAKELEVEL MFLAGS
build=${VELTA_BUILD:-build}
make -s BUILD="$build" PREFIX=/opt/velta DESTDIR="$folder/root" install >"$folder/log" 2>&1 || {
    cat "$folder/log"
    exit 1
}
root=$folder/root/opt/velta

if grep -n '#include "' "$root/include/velta.h"; then
    echo "the installed header includes what is not installed"
    exit 1
fi
cat >"$folder/program.c" <<'C'
#include <velta.h>
#include <stdio.h>
/* Names that libvelta uses inside: a clash would show at link time. */
int memory_create(void);
int memory_create(void) { return 1; }
int simd_select(void);
int simd_select(void) { return 2; }
int LZ4_compress_default(void);
int LZ4_compress_default(void) { return 3; }
int main(void) {
    velta *db = NULL;
    struct velta_error error;
    if (velta_open(NULL, NULL, &db, &error) != VELTA_OK) return printf("%s\n", error.text), 1;
    printf("velta %s %d\n", velta_version(), memory_create() + simd_select() + LZ4_compress_default());
    return velta_close(db, NULL) != VELTA_OK;
}
C
sed 's/NULL/nullptr/g; s/int \(\w*\)(void);/extern "C" int \1(void);/' "$folder/program.c" >"$folder/program.cpp"
export PKG_CONFIG_PATH=$root/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$folder/root
read -ra flags < <(pkg-config --cflags velta)
read -ra libs < <(pkg-config --libs velta)
strict=(-Wall -Wextra -Werror -pedantic)
${CC:-gcc} -std=c11 "${strict[@]}" "${flags[@]}" "$folder/program.c" -o "$folder/c11" "${libs[@]}"
${CC:-gcc} -std=c99 "${strict[@]}" "${flags[@]}" -fsyntax-only "$folder/program.c"
${CLANG:-clang-14} -std=c11 "${strict[@]}" "${flags[@]}" -fsyntax-only "$folder/program.c"
g++ -std=c++11 "${strict[@]}" "${flags[@]}" "$folder/program.cpp" -o "$folder/cpp" "${libs[@]}"
version=$(sed -n 's/^Version: //p' "$root/lib/pkgconfig/velta.pc")
for program in c11 cpp; do
    [ "$("$folder/$program")" = "velta $version 6" ] || { echo "$program says: $("$folder/$program")"; exit 1; }
done
"$root/bin/velta" --help >/dev/null
