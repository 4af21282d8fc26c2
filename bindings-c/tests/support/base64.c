#include "base64.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

mill_slice base64_decode(const char* text) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = strlen(text), len = 0;
    CHECK(length % 4 == 0);
    uint8_t* data = malloc(length / 4 * 3 + 1);
    CHECK(data != NULL);
    for (size_t i = 0; i < length; i += 4) {
        uint32_t bits = 0;
        size_t bytes = 3;
        for (size_t j = 0; j < 4; j++) {
            const char* at = strchr(alphabet, text[i + j]);
            if (text[i + j] == '=' && i + 4 == length && j >= 2) {
                bytes = bytes == 3 ? j - 1 : bytes;
                at = alphabet;
            }
            CHECK(at != NULL);
            bits = bits << 6 | (uint32_t)(at - alphabet);
        }
        for (size_t j = 0; j < bytes; j++) {
            data[len++] = (uint8_t)(bits >> (16 - 8 * j));
        }
    }
    return (mill_slice){data, len};
}
