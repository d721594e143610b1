/*
 * Decimal text to int64_t and double.
 *
 * strtod follows the process's locale (a host that sets a comma as decimal point would change what a filter means), so
 * the conversion is done here. Up to 19 digits with a power of ten that a double holds exactly need one multiplication
 * or division, correctly rounded by IEEE 754 (Clinger, "How to read floating point numbers accurately", 1990). All else
 * is a fraction of two big integers, scaled by a power of two until the quotient has 64 bits; the quotient is found by
 * long division and rounded with the remainder as sticky bit: exact and slow (microseconds), and rarely used.
 *
 * Limits: digits beyond the first MAX_DIGITS cannot change the result except by being non-zero, since a double and the
 * middle between two doubles have at most 767 significant digits; they are folded into one last digit.
 */
#include "core/number.h"

#include <stdbool.h>
#include <string.h>

enum { MAX_DIGITS = 770, LIMBS = 192 };

/* Big natural number, 32 bits a limb, least significant first. 192 limbs = 6,144 bits: more than 10^1,130 * 2^128. */
struct big {
    uint32_t limbs[LIMBS];
    unsigned count;
};

static void big_multiply_add(struct big *big, uint32_t factor, uint32_t addend) {
    uint64_t carry = addend;
    for (unsigned i = 0; i < big->count; i++) {
        carry += (uint64_t)big->limbs[i] * factor;
        big->limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0) big->limbs[big->count++] = (uint32_t)carry;
}

static void big_shift_left(struct big *big, unsigned bits) {
    unsigned whole = bits / 32, part = bits % 32;
    if (big->count == 0 || bits == 0) return;
    memmove(big->limbs + whole, big->limbs, big->count * sizeof big->limbs[0]);
    memset(big->limbs, 0, whole * sizeof big->limbs[0]);
    big->count += whole;
    if (part != 0) {
        uint32_t carry = 0;
        for (unsigned i = whole; i < big->count; i++) {
            uint32_t limb = big->limbs[i];
            big->limbs[i] = limb << part | carry;
            carry = limb >> (32 - part);
        }
        if (carry != 0) big->limbs[big->count++] = carry;
    }
}

static int big_compare(const struct big *a, const struct big *b) {
    if (a->count != b->count) return a->count < b->count ? -1 : 1;
    for (unsigned i = a->count; i-- > 0;)
        if (a->limbs[i] != b->limbs[i]) return a->limbs[i] < b->limbs[i] ? -1 : 1;
    return 0;
}

/* a -= b, where a >= b */
static void big_subtract(struct big *a, const struct big *b) {
    uint64_t borrow = 0;
    for (unsigned i = 0; i < a->count; i++) {
        uint64_t subtrahend = (i < b->count ? b->limbs[i] : 0) + borrow;
        borrow = a->limbs[i] < subtrahend;
        a->limbs[i] = (uint32_t)(a->limbs[i] - subtrahend);
    }
    while (a->count > 0 && a->limbs[a->count - 1] == 0)
        a->count--;
}

static unsigned big_bits(const struct big *big) {
    return big->count == 0 ? 0 : big->count * 32 - (unsigned)__builtin_clz(big->limbs[big->count - 1]);
}

/* mantissa * 2^exponent plus something below if `sticky`, rounded to nearest even. mantissa has its top bit set. */
static double assemble(uint64_t mantissa, int exponent, bool sticky) {
    int top = exponent + 63; /* weight of the leading bit */
    int drop = top < -1022 ? 11 + (-1022 - top) : 11;
    uint64_t kept, half_bit, rest;
    if (drop > 64) return 0.0;
    kept = drop == 64 ? 0 : mantissa >> drop;
    half_bit = mantissa >> (drop - 1) & 1;
    rest = mantissa & ((UINT64_C(1) << (drop - 1)) - 1);
    if (half_bit && (rest != 0 || sticky || (kept & 1))) kept++;
    if (kept == UINT64_C(1) << 53) {
        kept >>= 1;
        top++;
    }
    if (top > 1023) return (double)__builtin_inff();
    /* subnormal numbers have the biased exponent 0; a carry into bit 52 makes it 1 by itself */
    uint64_t bits = top < -1022 ? kept : (uint64_t)(top + 1023) << 52 | (kept & ((UINT64_C(1) << 52) - 1));
    double result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* digits[0..count) * 10^exponent, exactly rounded; the first digit is not '0' */
static double convert_big(const char *digits, unsigned count, long exponent) {
    struct big numerator = {{0}, 0}, denominator = {{1}, 1};
    for (unsigned i = 0; i < count; i++)
        big_multiply_add(&numerator, 10, (uint32_t)(digits[i] - '0'));
    for (long i = 0; i < exponent; i++)
        big_multiply_add(&numerator, 10, 0);
    for (long i = exponent; i < 0; i++)
        big_multiply_add(&denominator, 10, 0);

    /* scale so that the denominator is at most the numerator and more than half of it, then divide bit by bit */
    int scale = (int)big_bits(&numerator) - (int)big_bits(&denominator);
    if (scale >= 0)
        big_shift_left(&denominator, (unsigned)scale);
    else
        big_shift_left(&numerator, (unsigned)-scale);
    if (big_compare(&numerator, &denominator) < 0) {
        big_shift_left(&numerator, 1);
        scale--;
    }
    uint64_t quotient = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        quotient <<= 1;
        if (big_compare(&numerator, &denominator) >= 0) {
            big_subtract(&numerator, &denominator);
            quotient |= 1;
        }
        big_shift_left(&numerator, 1);
    }
    return assemble(quotient, scale - 63, numerator.count != 0);
}

/* The value of significant digits (no leading zero) times ten to the exponent. */
static double convert(const char *digits, unsigned count, long exponent) {
    static const double powers[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    long magnitude = exponent + (long)count; /* the value is below 10^magnitude */
    if (count == 0 || magnitude < -330) return 0.0;
    if (magnitude > 310) return (double)__builtin_inff();
    if (count <= 19 && exponent >= -22 && exponent <= 22) {
        uint64_t value = 0;
        for (unsigned i = 0; i < count; i++)
            value = value * 10 + (uint64_t)(digits[i] - '0');
        if (value <= UINT64_C(1) << 53)
            return exponent < 0 ? (double)value / powers[-exponent] : (double)value * powers[exponent];
    }
    return convert_big(digits, count, exponent);
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* What has been read of a number: its significant digits and where the point stands. */
struct reading {
    char digits[MAX_DIGITS + 1];
    unsigned count;
    long exponent;
    bool lost; /* a non-zero digit beyond MAX_DIGITS */
    bool any;
};

static size_t read_digits(struct reading *reading, const char *text, size_t at, size_t size_bytes, bool after_point) {
    for (; at < size_bytes && is_digit(text[at]); at++) {
        reading->any = true;
        if (reading->count < MAX_DIGITS && (reading->count > 0 || text[at] != '0')) {
            reading->digits[reading->count++] = text[at];
            reading->exponent -= after_point;
        } else if (reading->count == 0) {
            reading->exponent -= after_point; /* a leading zero */
        } else {
            reading->lost |= text[at] != '0';
            reading->exponent += !after_point;
        }
    }
    return at;
}

static bool read_integer(const char *text, size_t from, size_t to, bool negative, int64_t *out) {
    uint64_t value = 0, limit = (uint64_t)INT64_MAX + negative;
    for (size_t i = from; i < to; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (limit - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = (int64_t)(negative ? UINT64_C(0) - value : value);
    return true;
}

struct number number_read(const char *text, size_t size_bytes) {
    struct number number = {NUMBER_NONE, 0, 0, 0.0};
    struct reading reading = {.count = 0};
    bool negative = size_bytes > 0 && text[0] == '-';
    size_t start = negative || (size_bytes > 0 && text[0] == '+') ? 1 : 0;
    size_t end = read_digits(&reading, text, start, size_bytes, false);
    if (reading.any && (end == size_bytes || (text[end] != '.' && (text[end] | 0x20) != 'e')))
        if (read_integer(text, start, end, negative, &number.integer)) number.kind = NUMBER_INTEGER;
    if (end < size_bytes && text[end] == '.') {
        end = read_digits(&reading, text, end + 1, size_bytes, true);
    }
    if (!reading.any) return number;
    if (end < size_bytes && (text[end] | 0x20) == 'e') {
        size_t at = end + 1;
        bool below = at < size_bytes && text[at] == '-';
        if (at < size_bytes && (text[at] == '-' || text[at] == '+')) at++;
        if (at < size_bytes && is_digit(text[at])) {
            long exponent = 0;
            for (; at < size_bytes && is_digit(text[at]); at++)
                exponent = exponent < 1000000 ? exponent * 10 + (text[at] - '0') : exponent;
            reading.exponent += below ? -exponent : exponent;
            end = at;
        }
    }
    if (reading.lost) { /* stands for all that follows: only above or equal matters */
        reading.digits[reading.count++] = '1';
        reading.exponent--;
    }
    double magnitude = convert(reading.digits, reading.count, reading.exponent);
    number.real = negative ? -magnitude : magnitude;
    number.size_bytes = end;
    if (number.kind == NUMBER_INTEGER)
        number.real = (double)number.integer;
    else
        number.kind = NUMBER_FLOAT;
    return number;
}
