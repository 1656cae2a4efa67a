log: {level: info}
