#include "json.h"

#include <cstddef>
#include <cstring>
#include <locale>
#include <sstream>
#include <stdexcept>

namespace blurvote {
namespace {

constexpr int kDeepest = 16;

class Reader {
  public:
    explicit Reader(const std::string& text) : text_(text) {}

    Json document() {
        Json value = this->value(0);
        if (peek() != '\0' || at_ != text_.size()) fail("more follows the value");
        return value;
    }

  private:
    [[noreturn]] void fail(const std::string& why) const {
        throw std::invalid_argument("not valid JSON: " + why + " at character " + std::to_string(at_));
    }

    // The next character that is not white space; 0 at the end.
    char peek() {
        while (at_ < text_.size() && std::string(" \t\n\r").find(text_[at_]) != std::string::npos) ++at_;
        return at_ < text_.size() ? text_[at_] : '\0';
    }

    char next() {
        if (at_ == text_.size()) fail("it ends too early");
        return text_[at_++];
    }

    bool take(char wanted) {
        if (peek() != wanted || at_ == text_.size()) return false;
        ++at_;
        return true;
    }

    void expect(char wanted) {
        if (!take(wanted)) fail(std::string("expected ") + wanted);
    }

    Json value(int depth) {
        if (depth > kDeepest) fail("it nests too deeply");
        Json value;
        switch (peek()) {
            case '{': return object(depth);
            case '[': return array(depth);
            case '"':
                value.type = Json::Type::text;
                value.text = string();
                return value;
            case 't': return word("true", Json::Type::boolean, true);
            case 'f': return word("false", Json::Type::boolean, false);
            case 'n': return word("null", Json::Type::null, false);
            default: return number();
        }
    }

    Json object(int depth) {
        Json value;
        value.type = Json::Type::object;
        expect('{');
        if (take('}')) return value;
        do {
            if (peek() != '"') fail("expected a name in quotes");
            std::string name = string();
            expect(':');
            value.fields.emplace_back(std::move(name), this->value(depth + 1));
        } while (take(','));
        expect('}');
        return value;
    }

    Json array(int depth) {
        Json value;
        value.type = Json::Type::array;
        expect('[');
        if (take(']')) return value;
        do value.items.push_back(this->value(depth + 1));
        while (take(','));
        expect(']');
        return value;
    }

    Json word(const std::string& word, Json::Type type, bool boolean) {
        if (text_.compare(at_, word.size(), word) != 0) fail("expected " + word);
        at_ += word.size();
        Json value;
        value.type = type;
        value.boolean = boolean;
        return value;
    }

    Json number() {
        const std::size_t from = at_;
        at("-");
        bool ok = at("0") || digits();
        if (ok && at(".")) ok = digits();
        if (ok && at("eE")) {
            at("+-");
            ok = digits();
        }
        Json value;
        value.type = Json::Type::number;
        value.text = text_.substr(from, at_ - from);
        std::istringstream in(value.text);
        in.imbue(std::locale::classic());  // whatever the host's locale takes for a decimal point
        if (!ok || !(in >> value.number)) {  // the stream fails beyond the range of double
            at_ = from;
            fail("expected a value");
        }
        return value;
    }

    // Takes one character if it is one of these; no white space before it.
    bool at(const char* these) {
        if (at_ == text_.size() || text_[at_] == '\0' || std::strchr(these, text_[at_]) == nullptr) return false;
        ++at_;
        return true;
    }

    bool digits() {
        if (!at("0123456789")) return false;
        while (at("0123456789")) {
        }
        return true;
    }

    std::string string() {
        std::string out;
        expect('"');
        for (char c = next(); c != '"'; c = next()) {
            if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a text");
            if (c != '\\') {
                out += c;
                continue;
            }
            const std::string escapes = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
            c = next();
            const std::size_t known = escapes.find(c);
            if (c == 'u') {
                append_utf8(out, code_point());
            } else if (known != std::string::npos) {
                out += meanings[known];
            } else {
                fail("an unknown escape in a text");
            }
        }
        return out;
    }

    unsigned hex4() {
        unsigned value = 0;
        for (int digit = 0; digit < 4; ++digit) {
            const std::size_t found = std::string("0123456789abcdefABCDEF").find(next());
            if (found == std::string::npos) fail("expected four hexadecimal digits");
            value = value * 16 + static_cast<unsigned>(found < 16 ? found : found - 6);
        }
        return value;
    }

    // After \u; characters beyond the basic plane come as two surrogates.
    unsigned code_point() {
        const unsigned high = hex4();
        if (high < 0xd800 || high > 0xdfff) return high;
        if (high > 0xdbff || next() != '\\' || next() != 'u') fail("half a surrogate pair");
        const unsigned low = hex4();
        if (low < 0xdc00 || low > 0xdfff) fail("half a surrogate pair");
        return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }

    static void append_utf8(std::string& out, unsigned code) {
        if (code < 0x80) {
            out += static_cast<char>(code);
            return;
        }
        const int rest = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;  // continuation bytes
        const unsigned lead[] = {0, 0xc0, 0xe0, 0xf0};
        out += static_cast<char>(lead[rest] | (code >> (6 * rest)));
        for (int k = rest - 1; k >= 0; --k) out += static_cast<char>(0x80 | ((code >> (6 * k)) & 0x3f));
    }

    const std::string& text_;
    std::size_t at_ = 0;
};

}  // namespace

Json parse_json(const std::string& text) { return Reader(text).document(); }

}  // namespace blurvote
