// Decides about logits from the standard input: a line with the defence as JSON, and then per frame
// "ran classes noisy" and that many logits; prints "label reason confidence undecided" for each.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include <blurvote/guard.h>

int main() {
    std::string json;
    std::getline(std::cin, json);
    const blurvote::Defense defense = blurvote::parse_defense(json);
    int ran;
    std::size_t classes;
    bool noisy;
    while (std::cin >> ran >> classes >> noisy) {
        std::vector<float> logits;
        std::string word;  // not read as numbers: streams do not know nan and inf
        while (logits.size() < ran * classes && std::cin >> word) logits.push_back(std::strtof(word.c_str(), nullptr));
        const blurvote::Verdict verdict = blurvote::decide(defense, logits.data(), ran, classes, noisy);
        std::printf("%lld %s %.9f %d\n", static_cast<long long>(verdict.label),
                    verdict.reason == blurvote::Rejection::none ? "-" : blurvote::rejection_name(verdict.reason),
                    verdict.confidence.value_or(-1.0), blurvote::can_still_change(defense, verdict));
    }
}
